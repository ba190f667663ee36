"""The batched task: the one place where a task's dynamics, reward, observations and success are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from embodkd.envs import draws
from embodkd.envs.camera import By
from embodkd.envs.diverged import SimulationDiverged
from embodkd.envs.spec import TaskSpec
from embodkd.envs.state import restore, saved

_KEPT = {name: name for name in ("seeds", "steps", "last_action")} | {"started": "_started"}


class TaskStep(NamedTuple):
    """What one control step gives: (N,) arrays; ``info`` always has ``is_success`` (bool) and ``failure`` (code)."""

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    info: dict[str, np.ndarray]


class BatchTask(ABC):
    """N copies of one task.  An episode is a function of its seed and the actions, of nothing else.

    A member of the family implements ``_place`` (start episodes of some copies from their seeds), ``_advance`` (apply
    actions and compute reward, failure code and success for every copy) and registers one function per observation
    group in ``self.observers``.  Episodes last ``spec.max_steps`` steps, less where ``ends_on_success``; an episode
    succeeds when ``is_success`` holds at its last step.  Nothing resets by itself: the doors and ``Stream`` do that.
    """

    ends_on_success: ClassVar[bool] = False
    ends_when_lost = False
    """See ``end_when_lost``."""
    spec: TaskSpec
    num_envs: int
    observers: dict[str, Callable[[np.ndarray | None], np.ndarray]]

    def __init__(self, num_envs: int, action_size: int) -> None:
        self.num_envs = num_envs
        self.seeds = np.zeros(num_envs, np.int64)
        self.steps = np.zeros(num_envs, np.int64)
        self.last_action = np.zeros((num_envs, action_size), np.float32)
        self._started, self.closed = np.zeros(num_envs, bool), False

    def reset(self, seeds: np.ndarray, ids: np.ndarray | None = None) -> None:
        """Start the episodes ``seeds`` (n,) in the copies ``ids`` (n,), sorted and unique; None for all copies."""
        self._check_open()
        ids = np.arange(self.num_envs) if ids is None else np.asarray(ids)
        seeds = np.asarray(seeds)
        if seeds.size and seeds.dtype.kind not in "iu":
            raise ValueError(f"seeds of episodes are whole numbers, not {seeds.dtype}")
        seeds = seeds.astype(np.int64)
        if seeds.shape != ids.shape:
            raise ValueError(f"reset needs one seed per copy: {seeds.shape} seeds for {ids.shape} copies")
        self.seeds[ids] = seeds
        self.steps[ids] = 0
        self.last_action[ids] = 0.0
        self._started[ids] = True
        self._place(ids, seeds)

    def step(self, actions: np.ndarray) -> TaskStep:
        """Advance every copy by one control period with ``actions`` (N, A), clipped to [-1, 1]."""
        self._check_open()
        actions = np.asarray(actions, np.float32)
        if actions.shape != self.last_action.shape:
            raise ValueError(f"{self.spec.name}: actions have shape {actions.shape}, expected {self.last_action.shape}")
        if not self._started.all():
            raise ValueError(f"{self.spec.name}: step before reset in copies {np.flatnonzero(~self._started)[:8]}")
        if not np.isfinite(actions).all():
            bad = np.flatnonzero(~np.isfinite(actions).all(axis=1))
            raise ValueError(f"{self.spec.name}: the actions of copies {bad[:8].tolist()} are not finite")
        actions = np.clip(actions, -1.0, 1.0)
        self.steps += 1
        try:
            reward, failure, success = self._advance(actions)
        except SimulationDiverged as error:
            raise error.during(self._when(error.copies)) from None
        self.last_action[:] = actions
        terminated = success & self.ends_on_success
        if self.ends_when_lost:
            terminated |= self.lost() & ~success
        truncated = ~terminated & (self.steps >= self.spec.max_steps)
        return TaskStep(reward.astype(np.float32), terminated, truncated, {"is_success": success, "failure": failure})

    def observe(self, groups: Sequence[str], ids: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Fresh arrays (n, *shape) of the named groups for the copies ``ids`` (None for all)."""
        self._check_open()
        return {name: self.observers[name](ids) for name in self.spec.check_groups(groups)}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        self._check_open()
        return saved(self, _KEPT)

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict`` of a task with the same options and number of copies."""
        self._check_open()
        restore(self, _KEPT, arrays)

    def _when(self, copies: Sequence[int]) -> str:
        """Which steps of which episodes these copies were at."""
        rate = self.spec.control_hz
        return ", ".join(
            f"copy {copy}: step {self.steps[copy]} ({self.steps[copy] / rate:.2f} s) of episode {self.seeds[copy]}"
            for copy in copies[:8]
        )

    def uniform(self, seeds_n: np.ndarray, stream: str, count: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        """The episode's own random numbers, (n, count); see ``draws.uniform``."""
        return draws.uniform(seeds_n, stream, count, low=low, high=high)

    def end_when_lost(self) -> None:
        """End episodes that are ``lost`` as well from now on, for a learner: nothing is judged so. ``ValueError`` where
        a task cannot tell."""
        raise ValueError(f"end_when_lost: task {self.spec.name!r} does not say when an episode is lost; leave it out")

    def lost(self) -> np.ndarray:
        """Which copies can hardly succeed any more, (N,)."""
        return np.zeros(self.num_envs, bool)

    @abstractmethod
    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None: ...

    @abstractmethod
    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...

    def phases(self) -> tuple[str, ...] | None:
        """What each copy is busy with at the moment, in a word or two, for people; None for a task that cannot tell."""
        return None

    def render(
        self, ids: np.ndarray | None = None, size: tuple[int, int] = (240, 320), camera: str = "overview"
    ) -> np.ndarray:
        """Pictures of some copies for people, uint8 (n, H, W, 3)."""
        raise NotImplementedError(f"task {self.spec.name!r} on engine {self.spec.engine!r} has no pictures for people")

    def see(self, by: By) -> None:
        """Let cameras see ``by`` rays or shapes, see ``make_task``."""
        if by == "shapes":
            raise ValueError(f"cameras={by}: task {self.spec.name!r} has no cameras")

    def dress(self, look: int) -> None:
        """Show the copies in look number ``look`` of their own, pictures drawn from the same ranges; 0 is that of their
        episodes.  Nothing but pictures changes.  ValueError where no looks are drawn."""
        raise ValueError(f"task {self.spec.name!r} draws no looks")

    def close(self) -> None:
        """Free what the engine holds; harmless twice.  Afterwards the task can do nothing."""
        self.closed = True

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"task {self.spec.name!r} is closed; make it anew")
