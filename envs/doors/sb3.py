"""The stable-baselines3 door: a ``VecEnv`` over the batched task, for any algorithm of that library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from embodkd.envs.doors.spaces import action_space, frames_per_second, observation_space
from embodkd.envs.stream import Stream
from embodkd.envs.task import BatchTask
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn


class TaskVecEnv(VecEnv):
    """Same-step autoreset, ``terminal_observation`` and ``TimeLimit.truncated`` in the infos of finished copies.

    The first ``reset`` starts the episodes ``seed + i``, and so does the one after ``seed(s)`` with s; any other one
    goes on to new episodes.
    """

    def __init__(self, task: BatchTask, groups: Sequence[str], seed: int = 0) -> None:
        self.stream = Stream(task, groups, seed)
        self.render_mode = "rgb_array"
        super().__init__(task.num_envs, observation_space(task.spec, self.stream.groups), action_space(task.spec))
        self.metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": frames_per_second(task.spec)}

    def reset(self) -> VecEnvObs:
        """Start an episode in every copy; which one, the class says."""
        given = [seed for seed in self._seeds if seed is not None]
        if given:
            self.stream.seed = int(given[0])
        self._reset_seeds()
        self._reset_options()
        return self.stream.reset() if given or not self.stream.begun else self.stream.go_on()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One control period of every copy."""
        step = self.stream.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row, i in enumerate(step.final_ids):
            infos[i] = {name: values[i].item() for name, values in step.info.items()}
            infos[i]["terminal_observation"] = {name: values[row] for name, values in step.final_obs.items()}
            infos[i]["TimeLimit.truncated"] = bool(step.truncated[i] and not step.terminated[i])
        return step.obs, step.reward, step.terminated | step.truncated, infos

    def close(self) -> None:
        """Free the engine."""
        self.stream.task.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One picture per copy."""
        return list(self.stream.task.render())

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the batched task, once per copy asked for."""
        owner = self if attr_name in ("render_mode", "metadata") else self.stream.task
        return [getattr(owner, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """The copies share one task, so nothing can be set for some of them."""
        raise ValueError(
            f"cannot set {attr_name!r}: the copies are rows of one batched task; pass options to make_task"
        )

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method of the batched task; the result is repeated once per copy asked for."""
        result = getattr(self.stream.task, method_name)(*args, **kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Nothing is wrapped."""
        return [False] * len(list(self._get_indices(indices)))
