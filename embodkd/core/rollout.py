"""A source that acts: a teacher, a student or a mixture drives a batched task, and every state gets a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import nn

from embodkd.core.buffer import Buffer
from embodkd.core.modes import evaluating
from embodkd.core.schedule import Schedule
from embodkd.core.signals import Signals
from embodkd.core.source import Refresh, Source


class Actor(Protocol):
    """What drives or labels: the observation groups that it reads, and actions (N, A) in [-1, 1] for them."""

    @property
    def reads(self) -> Sequence[str]:
        """Names of observation groups."""
        ...

    def act(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Deterministic, clipped actions, float32 (N, A)."""
        ...


class Mixture:
    """Teacher and student share the environments: a fraction beta of them, whole ones, is the teacher's.

    beta is a schedule over refills (0, 1, ...). The first round(beta * N) environments go to the teacher; episodes
    are drawn at random, so which ones it gets does not matter. An actor that remembers something between steps, as one
    that plans ahead does, has a method `session(copies)`: that then acts, and is told where episodes begin.
    """

    def __init__(self, teacher: Actor, student: Actor, beta: Schedule) -> None:
        self.teacher, self.student, self.beta = teacher, student, beta
        self.reads = tuple(dict.fromkeys((*teacher.reads, *student.reads)))
        self.teacher_count = 0
        self._drivers: list[Any] = [teacher, student]

    def begin(self, refill: int, num_envs: int) -> None:
        """Divide the environments for this refill."""
        share = self.beta.at(refill)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"beta must lie in [0, 1], got {share} in round {refill}")
        first = self.teacher_count = round(share * num_envs)
        self._drivers = [_at_work(self.teacher, first), _at_work(self.student, num_envs - first)]

    def restart(self, ids: np.ndarray) -> None:
        """New episodes start in the environments `ids`."""
        first = self.teacher_count
        for driver, mine in zip(self._drivers, (ids[ids < first], ids[ids >= first] - first), strict=True):
            _restart(driver, mine)

    def act(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The actions of whoever drives each environment, (N, A)."""
        total, first = len(next(iter(obs.values()))), self.teacher_count
        parts = []
        if first > 0:
            parts.append(self._drivers[0].act({name: obs[name][:first] for name in self.teacher.reads}))
        if first < total:
            parts.append(self._drivers[1].act({name: obs[name][first:] for name in self.student.reads}))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _at_work(actor: Actor, copies: int) -> Any:
    """The actor's session in so many environments if it remembers anything between steps, else itself."""
    return actor.session(copies) if hasattr(actor, "session") else actor


def _restart(driver: Any, ids: np.ndarray) -> None:
    if hasattr(driver, "begin"):
        driver.begin(ids)


def mixture(teacher: Actor, student: Actor, beta: Schedule) -> Mixture:
    """DAgger's actor: see Mixture."""
    return Mixture(teacher, student, beta)


class Rollout(Source):
    """Each refill runs `steps` control steps of every copy of `task` and keeps all states that were visited.

    task: a batched task (`spec`, `num_envs`, `reset`, `step`, `observe`); actor: what drives it; label: whose clipped
    action becomes the row's `target` (N, A); groups: the observation groups that are kept for the student. Episodes
    start from seeds derived from (seed, refill), so a round boundary needs no state of the task. An episode that ends
    early is followed by another one. A privileged group among the student's is an error unless `allow_privileged`.
    first_rows: called once with what the first refill kept, "target" too; a student fits its statistics there.
    """

    def __init__(
        self,
        task: Any,
        actor: Mixture,
        label: Actor,
        groups: Sequence[str],
        *,
        keep: Buffer | None = None,
        steps: int | None = None,
        seed: int = 0,
        refresh: Refresh = "epoch",
        allow_privileged: bool = False,
        first_rows: Callable[[Mapping[str, np.ndarray]], None] | None = None,
    ) -> None:
        self.task, self.actor, self.label = task, actor, label
        self.groups, self.seed, self.refresh = tuple(groups), seed, refresh
        self.keep = Buffer() if keep is None else keep
        self.steps = task.spec.max_steps if steps is None else steps
        if self.steps < 1:
            raise ValueError(f"a rollout needs at least one step per round, got {self.steps}")
        known = task.spec.groups
        wanted = dict.fromkeys((*actor.reads, *label.reads, *self.groups))
        missing = [name for name in wanted if name not in known]
        if missing:
            raise ValueError(f"task {task.spec.name!r} has no observation group {missing}; it has {sorted(known)}")
        secret = [name for name in self.groups if known[name].privileged]
        if secret and not allow_privileged:
            raise ValueError(
                f"the student reads {secret}, which task {task.spec.name!r} marks as privileged: a deployed policy "
                "will not have it; let it read deployable groups, or say allow_privileged=true"
            )
        self._observed = tuple(wanted)
        self._first_rows = first_rows

    def size(self) -> int:
        """How many states are kept."""
        return self.keep.rows

    def planned_size(self, refill: int) -> int:
        """How many states there are after refill number `refill`."""
        refills = 1 if self.refresh == "never" else refill + 1
        return self.steps * self.task.num_envs * (refills if self.keep.aggregate else 1)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The kept states at `index`: the student's groups and `target`."""
        return self.keep.gather(index)

    def refill(self, refill: int) -> dict[str, float]:
        """Drive, label and keep, networks in evaluation mode; returns the share of successful episodes by driver."""
        actors = (self.actor.teacher, self.actor.student, self.label)
        with evaluating(*(actor for actor in actors if isinstance(actor, nn.Module))):
            return self._refill(refill)

    def _refill(self, refill: int) -> dict[str, float]:
        task, count = self.task, self.task.num_envs
        groups = {name: task.spec.groups[name] for name in self.groups}
        columns = {name: (tuple(g.shape), g.dtype) for name, g in groups.items()}
        columns["target"] = ((task.spec.action_size,), "float32")
        rows = self.keep.extend(count * self.steps, columns)
        seeds = np.random.default_rng([self.seed, refill])
        task.reset(_draw(seeds, count))
        self.actor.begin(refill, count)
        # a teacher that plans ahead labels by a plan of its own along the student's way
        labeller = _at_work(self.label, count)
        episodes = _Episodes(self.actor.teacher_count)
        for step in range(self.steps):
            obs = task.observe(self._observed)
            span = slice(step * count, (step + 1) * count)
            for name in self.groups:
                rows[name][span] = obs[name]
            rows["target"][span] = labeller.act({name: obs[name] for name in self.label.reads})
            result = task.step(self.actor.act({name: obs[name] for name in self.actor.reads}))
            over = np.flatnonzero(result.terminated | result.truncated)
            episodes.count(over, result.info["is_success"])
            if len(over) and step + 1 < self.steps:
                task.reset(_draw(seeds, len(over)), over)
                self.actor.restart(over)
                _restart(labeller, over)
        if refill == 0 and self._first_rows is not None:
            self._first_rows({name: rows[name] for name in (*self.groups, "target")})
        return {"rollout/beta": self.actor.teacher_count / count, **episodes.shares()}

    def save(self, folder: Path) -> None:
        """Write new shards."""
        self.keep.save(folder)

    def tidy(self, folder: Path) -> None:
        """Remove shards without rows."""
        self.keep.tidy(folder)

    def restore(self, folder: Path, refills: int) -> None:
        """Read the shards of the first `refills` refills."""
        self.keep.restore(folder, refills)


class _Episodes:
    """Counts finished episodes and successes, separately for those that the teacher and the student drove."""

    def __init__(self, teacher_count: int) -> None:
        self._teacher_count = teacher_count
        self._ended = {"teacher": 0, "student": 0}
        self._successes = {"teacher": 0, "student": 0}

    def count(self, over: np.ndarray, success_N: np.ndarray) -> None:
        """Note the episodes `over` that ended in this step."""
        for driver, ids in (
            ("teacher", over[over < self._teacher_count]),
            ("student", over[over >= self._teacher_count]),
        ):
            self._ended[driver] += len(ids)
            self._successes[driver] += int(success_N[ids].sum())

    def shares(self) -> dict[str, float]:
        """Success share per driver that finished at least one episode."""
        return {f"rollout/{d}_success": self._successes[d] / n for d, n in self._ended.items() if n}


def _draw(generator: np.random.Generator, count: int) -> np.ndarray:
    """Fresh episode seeds, int64 >= 0, far apart from the small numbers that evaluations use."""
    return generator.integers(2**32, 2**62, size=count, dtype=np.int64)
