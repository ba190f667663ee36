"""Gymnasium's vector door: the batched task itself, in all three autoreset modes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from embodkd.envs import draws, make_task
from embodkd.envs.doors.gym import default_groups, limited
from embodkd.envs.doors.spaces import action_space, frames_per_second, observation_space
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class TaskVectorEnv(VectorEnv[dict[str, np.ndarray], np.ndarray, np.ndarray]):
    """All copies of a task behind Gymnasium's vector interface.

    Copy i of ``reset(seed=s)`` runs the episode of seed s + i; the next one's seed follows from it alone.
    Autoreset: ``next_step`` (Gymnasium's default), ``same_step`` (last observations in ``info["final_obs"]``) or
    ``disabled`` (reset finished copies yourself with ``options={"reset_mask": mask}``).
    """

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        *,
        groups: tuple[str, ...] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **options: Any,
    ) -> None:
        self.task = make_task(task, num_envs, **options | limited(max_episode_steps, options))
        self.num_envs = num_envs
        self.groups = self.task.spec.check_groups(groups or default_groups(self.task.spec.groups))
        self.single_observation_space = observation_space(self.task.spec, self.groups)
        self.single_action_space = action_space(self.task.spec)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            "autoreset_mode": self.autoreset_mode,
            "render_modes": ["rgb_array"],
            "render_fps": frames_per_second(self.task.spec),
        }
        self.render_mode = render_mode
        self._ended = np.zeros(num_envs, bool)

    @property
    def spec(self) -> EnvSpec | None:
        """What Gymnasium knows of how this environment was made, with the limit of the task."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = spec and replace(spec, max_episode_steps=self.task.spec.max_steps)

    def reset(
        self, *, seed: int | Integral | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start episodes in all copies, or in those of ``options["reset_mask"]``."""
        mask = (
            np.ones(self.num_envs, bool)
            if not options
            else np.asarray(options.get("reset_mask", True)) & np.ones(self.num_envs, bool)
        )
        ids = np.flatnonzero(mask)
        self.task.reset(self._seeds(seed, ids), ids)
        self._ended[ids] = False
        return self.task.observe(self.groups), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One control period of every copy, resets included as the autoreset mode says."""
        if self.autoreset_mode == AutoresetMode.DISABLED and self._ended.any():
            raise ValueError(
                f"copies {np.flatnonzero(self._ended)[:8].tolist()} have ended; reset them first: "
                'reset(options={"reset_mask": mask})'
            )
        restarting = (
            self._ended.copy() if self.autoreset_mode == AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, bool)
        )
        step = self.task.step(actions)
        reward, terminated, truncated = step.reward, step.terminated, step.truncated
        info: dict[str, Any] = dict(step.info)
        if restarting.any():
            # this call is the reset of those copies: their action was ignored and nothing was earned
            self._restart(np.flatnonzero(restarting))
            reward = np.where(restarting, 0.0, reward).astype(np.float32)
            terminated, truncated = terminated & ~restarting, truncated & ~restarting
            info = {name: np.where(restarting, np.zeros_like(values), values) for name, values in info.items()}
        obs = self.task.observe(self.groups)
        self._ended = terminated | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._ended.any():
            info |= self._same_step(obs, info)
        return obs, reward, terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The scenes for people, one uint8 (H, W, 3) per copy."""
        return tuple(self.task.render()) if self.render_mode == "rgb_array" else None

    def close_extras(self, **kwargs: Any) -> None:
        """Free the engine."""
        self.task.close()

    def _same_step(self, obs: dict[str, np.ndarray], info: dict[str, Any]) -> dict[str, Any]:
        ended = np.flatnonzero(self._ended)
        final_obs = np.full(self.num_envs, None, dtype=object)
        for i in ended:
            final_obs[i] = {name: values[i].copy() for name, values in obs.items()}
        final_info = {name: np.where(self._ended, values, np.zeros_like(values)) for name, values in info.items()}
        final_info |= {f"_{name}": self._ended.copy() for name in info}
        mask = self._ended.copy()
        self._restart(ended)
        for name, values in self.task.observe(self.groups, ended).items():
            obs[name][ended] = values
        self._ended[:] = False
        return {"final_obs": final_obs, "_final_obs": mask, "final_info": final_info, "_final_info": mask}

    def _restart(self, ids: np.ndarray) -> None:
        self.task.reset(draws.next_seeds(self.task.seeds[ids]), ids)

    def _seeds(self, seed: int | Integral | Sequence[int | None] | None, ids: np.ndarray) -> np.ndarray:
        if isinstance(seed, (int, Integral)):
            self._np_random = np.random.default_rng(int(seed))
            return ids.astype(np.int64) + int(seed)
        fresh = self.np_random.integers(2**62, size=len(ids))
        if seed is None:
            return fresh
        given: Any = seed  # a list, or an array
        chosen = [fresh[k] if given[i] is None else operator.index(given[i]) for k, i in enumerate(ids)]
        return np.array(chosen, np.int64)
