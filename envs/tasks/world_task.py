"""What the tasks here share: a world on one of their engines, groups made of columns, a state to go on from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar
from weakref import WeakMethod

import numpy as np
from embodkd.envs import draws, make_task
from embodkd.envs.camera import By
from embodkd.envs.randomise import Randomise
from embodkd.envs.spec import Group, TaskSpec
from embodkd.envs.state import below, restore, saved, under
from embodkd.envs.task import BatchTask
from embodkd.envs.world import World

from embodkd.core.config.schema import build

_DRAWS = 50
Columns = Callable[[], tuple[np.ndarray, ...]]


class WorldTask(BatchTask):
    """A task in a world.

    A member names itself, its failures, rate, length, engines and ``changes`` (see ``TaskSpec``); says by ``scene``
    which world each engine has, and by ``keeps`` which of its own arrays an episode depends on (what each is called in
    ``state_dict`` -> attribute). Its constructor is the schema of its options, which it hands on here with one method
    of its own per group: the columns (N, d) that stand side by side in it.
    """

    name: str
    failures: tuple[str, ...]
    control_hz: float
    max_steps: int
    engines: ClassVar[tuple[str, ...]] = ("mujoco",)
    keeps: ClassVar[dict[str, str]] = {}
    changes: ClassVar[tuple[str, ...]] = ()
    world: World

    def __init__(
        self,
        num_envs: int,
        engine: str,
        threads: int,
        options: Mapping[str, Any],
        groups: Mapping[Group, Columns],
        *,
        action_size: int | None = None,
        **scene: Any,
    ) -> None:
        """``options`` hold ``image_size``, ``randomise`` and ``max_steps`` (None: the task's own); ``scene`` is what
        the world takes besides; actions are the robot's unless ``action_size`` says otherwise."""
        if options["max_steps"] is not None:
            self.max_steps = options["max_steps"]
        if engine not in self.engines:
            raise ValueError(f"task {self.name} has no engine {engine!r}; choose {' or '.join(self.engines)}")
        self._threads, self._by = threads, "auto"
        how = build(Randomise, options["randomise"], "task.randomise")
        if how.latency >= self.max_steps:
            raise ValueError(
                f"task {self.name}: randomise.latency={how.latency} steps are all {self.max_steps} of an episode: no "
                "action would be carried out; take fewer"
            )
        self.world = self.scene(engine)(
            num_envs, threads=threads, image_size=options["image_size"], randomise=how, **scene
        )
        size = self.world.robot.action_size if action_size is None else action_size
        super().__init__(num_envs, size)
        # weakly: a task that held itself would keep its world until a collection, which may be far away
        self.observers = {group.name: partial(self._observed, WeakMethod(columns)) for group, columns in groups.items()}
        self.observers |= {group.name: partial(self.world.look, group) for group in self.world.camera_groups}
        offered = {group.name: group for group in (*groups, *self.world.camera_groups)}
        said = {**options, "randomise": dict(options["randomise"] or {})}
        told = self.name, engine, offered, size, self.control_hz, self.max_steps, self.failures, said
        self.spec = TaskSpec(*told, changes=self.changes)

    def reset(self, seeds: np.ndarray, ids: np.ndarray | None = None) -> None:
        """See ``BatchTask``; a start that is ``_unfit`` is drawn again, by the episode's own seed."""
        super().reset(seeds, ids)
        ids = np.arange(self.num_envs) if ids is None else np.asarray(ids)
        drawn = self.seeds[ids]
        for _ in range(_DRAWS):
            unfit = self._unfit(ids)
            if not unfit.any():
                return
            ids, drawn = ids[unfit], draws.next_seeds(drawn[unfit])
            self._place(ids, drawn)
        raise AssertionError(f"{self.name}: {_DRAWS} starts in a row are unfit in copies {ids[:8].tolist()}")

    def _unfit(self, ids: np.ndarray) -> np.ndarray:
        """Which of these copies have a start that no episode should have, (n,)."""
        return np.zeros(len(ids), bool)

    @staticmethod
    @abstractmethod
    def scene(engine: str) -> Callable[..., World]:
        """The world of this task on an engine."""

    @staticmethod
    def _observed(method: WeakMethod[Columns], ids: np.ndarray | None) -> np.ndarray:
        columns = method()
        assert columns is not None, "who calls an observer holds its task"
        return np.concatenate(columns(), axis=1)[slice(None) if ids is None else ids].astype(np.float32)

    def render(
        self, ids: np.ndarray | None = None, size: tuple[int, int] = (240, 320), camera: str = "overview"
    ) -> np.ndarray:
        """Pictures of some copies for people, uint8 (n, H, W, 3)."""
        self._check_open()
        return self.world.render(ids, size, camera)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        return super().state_dict() | saved(self, self.keeps) | under("world", self.world.state_dict())

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict`` of a task with the same options and number of copies."""
        super().load_state_dict(arrays)
        restore(self, self.keeps, arrays)
        self.world.load_state_dict(below("world", arrays))

    def see(self, by: By) -> None:
        """See ``BatchTask``."""
        self._by = by
        self.world.see(by)

    def dress(self, look: int) -> None:
        """See ``BatchTask``."""
        self._check_open()
        self.world.dress(look)

    def close(self) -> None:
        """Free what the engine holds; harmless twice."""
        super().close()
        self.world.close()

    def __reduce__(self) -> tuple[Callable[[], BatchTask], tuple[()], dict[str, np.ndarray]]:
        """How ``copy.deepcopy`` and ``pickle`` copy a task: made anew, and its state loaded."""
        made = {"engine": self.spec.engine, "threads": self._threads, "cameras": self._by}
        how: dict[str, Any] = {**made, **self.spec.options}
        return partial(make_task, self.spec.name, self.num_envs, **how), (), self.state_dict()

    def __setstate__(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue where the other one was."""
        self.load_state_dict(arrays)
