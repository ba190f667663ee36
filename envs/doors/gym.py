"""Gymnasium's single-environment door: a batch of one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from embodkd.envs import make_task
from embodkd.envs.doors.spaces import action_space, observation_space


class TaskEnv(gym.Env[Any, np.ndarray]):
    """One copy of a task.  Observations are a dictionary of the chosen ``groups`` (default: all vector groups).

    ``reset(seed=s)`` starts the episode of seed s; without a seed the episode's seed comes from Gymnasium's own
    generator.  Pictures for people: ``render_mode="rgb_array"``.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        task: str,
        *,
        groups: tuple[str, ...] | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.task = make_task(task, 1, **options)
        self.groups = self.task.spec.check_groups(groups or default_groups(self.task.spec.groups))
        self.observation_space = observation_space(self.task.spec, self.groups)
        self.action_space = action_space(self.task.spec)
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; it is a function of its seed alone."""
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


def default_groups(groups: dict[str, Any]) -> tuple[str, ...]:
    """The vector groups: cheap, and enough for a teacher."""
    return tuple(name for name, group in groups.items() if len(group.shape) == 1)
