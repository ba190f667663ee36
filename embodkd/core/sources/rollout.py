"""A source that acts: a teacher, a student or a mixture drives a batched task, and every state gets a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import nn

from embodkd.core.modules.modes import evaluating
from embodkd.core.ranks import ranks
from embodkd.core.signals import Signals
from embodkd.core.sources.buffer import Buffer
from embodkd.core.sources.chunks import in_chunks
from embodkd.core.sources.source import Refresh, Source
from embodkd.core.weights.schedule import Schedule


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

    def begin(self, refill: int, own: range, total: int) -> float:
        """Divide the environments for this refill, of which there are `total` and this process has those numbered
        `own`; the share that the teacher gets."""
        share = self.beta.at(refill)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"beta must lie in [0, 1], got {share} in round {refill}")
        taught = round(share * total)
        first = self.teacher_count = min(max(taught - own.start, 0), len(own))
        self._drivers = [_at_work(self.teacher, first), _at_work(self.student, len(own) - first)]
        return taught / total

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


class _Answering:
    """An actor that remembers nothing, asked by as many rows at a time as all others are."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def act(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        return in_chunks(self._actor.act, obs)


def _at_work(actor: Actor, copies: int) -> Any:
    """The actor's session in so many environments if it remembers anything between steps, else its answers."""
    return actor.session(copies) if hasattr(actor, "session") else _Answering(actor)


def _restart(driver: Any, ids: np.ndarray) -> None:
    if hasattr(driver, "begin"):
        driver.begin(ids)


def mixture(teacher: Actor, student: Actor, beta: Schedule) -> Mixture:
    """DAgger's actor: see Mixture."""
    return Mixture(teacher, student, beta)


class Rollout(Source):
    """Each refill runs `steps` control steps of every copy of `task` and keeps all states that were visited.

    task: a batched task (`spec`, `num_envs`, `reset`, `step`, `observe`); actor: what drives it; label: whose clipped
    action becomes the row's `target` (N, A); groups: the observation groups that are kept for the student. An episode
    that ends early is followed by another one. Each starts from a seed that is a function of (seed, refill, copy, which
    one of that copy's), so a round boundary needs no state of the task and no episode depends on when others end.
    Of several ranks each steps a task of its own; they count as one task with the copies of all, and every rank keeps
    all rows. A privileged group among the student's is an error unless `allow_privileged`.
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
        self._counted: tuple[range, int] | None = None

    def size(self) -> int:
        """How many states are kept."""
        return self.keep.rows

    def planned_size(self, refill: int) -> int:
        """How many states there are after refill number `refill`."""
        refills = 1 if self.refresh == "never" else refill + 1
        return self.steps * self._copies()[1] * (refills if self.keep.aggregate else 1)

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
        own, total = self._copies()
        groups = {name: task.spec.groups[name] for name in self.groups}
        columns = {name: (tuple(g.shape), g.dtype) for name, g in groups.items()}
        columns["target"] = ((task.spec.action_size,), "float32")
        rows = self.keep.extend(total * self.steps, columns)
        all_copies = {name: column.reshape(self.steps, total, *column.shape[1:]) for name, column in rows.items()}
        mine = {name: column[:, own.start : own.stop] for name, column in all_copies.items()}
        episode_N = np.zeros(count, np.int64)
        task.reset(self._seeds(refill, own, episode_N))
        share = self.actor.begin(refill, own, total)
        # a teacher that plans ahead labels by a plan of its own along the student's way
        labeller = _at_work(self.label, count)
        episodes = _Episodes(self.actor.teacher_count, count)
        for step in range(self.steps):
            obs = task.observe(self._observed)
            for name in self.groups:
                mine[name][step] = obs[name]
            mine["target"][step] = labeller.act({name: obs[name] for name in self.label.reads})
            result = task.step(self.actor.act({name: obs[name] for name in self.actor.reads}))
            over = np.flatnonzero(result.terminated | result.truncated)
            episodes.count(over[episode_N[over] == 0], result.info["is_success"])
            if len(over) and step + 1 < self.steps:
                episode_N[over] += 1
                task.reset(self._seeds(refill, own.start + over, episode_N[over]), over)
                self.actor.restart(over)
                _restart(labeller, over)
        start = 0
        for part in ranks().gather(mine) if total > count else ():
            stop = start + part["target"].shape[1]
            for name, column in part.items():
                all_copies[name][:, start:stop] = column
            start = stop
        if refill == 0 and self._first_rows is not None:
            self._first_rows({name: rows[name] for name in (*self.groups, "target")})
        return {"rollout/beta": share, **episodes.shares()}

    def _copies(self) -> tuple[range, int]:
        """(the numbers of this rank's copies among those of all, how many there are)."""
        if self._counted is None:
            together = ranks()
            counts = together.gather(self.task.num_envs)
            first = sum(counts[: together.rank]) if together.size > 1 else 0
            self._counted = range(first, first + self.task.num_envs), sum(counts)
        return self._counted

    def _seeds(self, refill: int, copies: Iterable[int], episodes: np.ndarray) -> np.ndarray:
        """The seeds (n,) of the k-th episodes of these copies, far from the small numbers that evaluations use."""
        keys = [(self.seed, refill, int(copy), int(k)) for copy, k in zip(copies, episodes, strict=True)]
        return np.array([np.random.default_rng(key).integers(2**32, 2**62) for key in keys], np.int64)

    def save(self, folder: Path) -> None:
        """Write new shards."""
        self.keep.save(folder)

    def tidy(self, folder: Path) -> None:
        """Remove shards that no checkpoint needs."""
        self.keep.tidy(folder)

    def restore(self, folder: Path, refills: int) -> None:
        """Read the shards of the first `refills` refills."""
        self.keep.restore(folder, refills)


class _Episodes:
    """Counts the first episode of every copy, separately for those that the teacher and the student drove.

    These were started together. Of those that end within some steps, the short ones would be too many.
    """

    def __init__(self, teacher_count: int, copies: int) -> None:
        self._teacher_count = teacher_count
        self._started = {"teacher": teacher_count, "student": copies - teacher_count}
        self._ended = {"teacher": 0, "student": 0}
        self._successes = {"teacher": 0, "student": 0}

    def count(self, over: np.ndarray, success_N: np.ndarray) -> None:
        """Note that the first episodes of the copies `over` ended in this step."""
        for driver, ids in (
            ("teacher", over[over < self._teacher_count]),
            ("student", over[over >= self._teacher_count]),
        ):
            self._ended[driver] += len(ids)
            self._successes[driver] += int(success_N[ids].sum())

    def shares(self) -> dict[str, float]:
        """Success share, over all ranks, per driver that began any and saw all of them end."""
        parts = ranks().gather((self._successes, self._ended, self._started))
        won, ended, began = ({d: sum(part[k][d] for part in parts) for d in self._ended} for k in range(3))
        return {f"rollout/{d}_success": won[d] / n for d, n in began.items() if n and ended[d] == n}
