"""Gymnasium's single-environment door: a batch of one."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import FrameType
from typing import Any

import gymnasium as gym
import numpy as np
from embodkd.envs import make_task
from embodkd.envs.doors.spaces import action_space, frames_per_second, observation_space
from gymnasium.envs.registration import EnvSpec


class TaskEnv(gym.Env[Any, np.ndarray]):
    """One copy of a task.  Observations are a dictionary of the chosen ``groups`` (default: all vector groups).

    ``reset(seed=s)`` starts the episode of seed s; without a seed the episode's seed comes from Gymnasium's own
    generator.  Pictures for people: ``render_mode="rgb_array"``.  ``max_episode_steps`` is the limit of the task, which
    is where an episode ends; None: the one given to ``gymnasium.make``, or the task's own.
    """

    # of the class, what Gymnasium asks before there is a task; each environment films at its own rate
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(
        self,
        task: str,
        *,
        groups: tuple[str, ...] | None = None,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **options: Any,
    ) -> None:
        limit = asked_of_make(sys._getframe(1)) if max_episode_steps is None else max_episode_steps
        self.task = make_task(task, 1, **options | limited(limit, options))
        self.metadata = self.metadata | {"render_fps": frames_per_second(self.task.spec)}
        self.groups = self.task.spec.check_groups(groups or default_groups(self.task.spec.groups))
        self.observation_space = observation_space(self.task.spec, self.groups)
        self.action_space = action_space(self.task.spec)
        self.render_mode = render_mode

    @property
    def spec(self) -> EnvSpec | None:
        """What Gymnasium knows of how this environment was made, with the limit of the task."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = spec and replace(spec, max_episode_steps=self.task.spec.max_steps)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; it is a function of its seed alone."""
        seed = None if seed is None else operator.index(seed)
        super().reset(seed=seed)
        episode = seed if seed is not None else int(self.np_random.integers(2**62))
        self.task.reset(np.array([episode], np.int64))
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control period."""
        step = self.task.step(np.asarray(action, np.float32)[None])
        info = {name: values[0].item() for name, values in step.info.items()}
        return (
            self._observation(),
            float(step.reward[0]),
            bool(step.terminated[0]),
            bool(step.truncated[0]),
            info,
        )

    def render(self) -> np.ndarray | None:
        """The scene for people, uint8 (H, W, 3)."""
        return self.task.render()[0] if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the engine."""
        self.task.close()

    def _observation(self) -> dict[str, np.ndarray]:
        return {name: values[0] for name, values in self.task.observe(self.groups).items()}


def limited(limit: int | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The task's option for an episode of ``limit`` steps, if there is one; ``ValueError`` if ``options`` have it."""
    if limit is None:
        return {}
    if options.get("max_steps") not in (None, limit):
        raise ValueError(f"max_episode_steps={limit} and max_steps={options['max_steps']} are two limits; give one")
    return {"max_steps": limit}


def asked_of_make(caller: FrameType) -> int | None:
    """The limit that ``gymnasium.make`` was given, if it is the caller.

    It tells nobody but its own wrapper, which can only end an episode earlier: a task that did not know the limit would
    end at its own, whatever the user asked for.
    """
    if caller.f_code is not gym.make.__code__:
        return None
    given, registered = caller.f_locals["max_episode_steps"], caller.f_locals["env_spec"].max_episode_steps
    limit = registered if given is None else given
    return None if limit == -1 else limit  # -1: without that wrapper


def default_groups(groups: dict[str, Any]) -> tuple[str, ...]:
    """The vector groups: cheap, and enough for a teacher."""
    return tuple(name for name, group in groups.items() if len(group.shape) == 1)
