"""Episodes of an expert or a policy, kept as recordings: demonstrations, and what a teacher leaves for its student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from embodkd.core.runs.progress import progress
from embodkd.data.lerobot import Recording
from embodkd.envs import BatchTask, TaskStep, make_task
from embodkd.envs.episodes import episode_steps, seen_in
from embodkd.envs.seeds import EXAMPLE, recorded
from embodkd.envs.tasks.assembly.disturbed import Disturbed
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.policies import Policy
from embodkd.policies.session import Session, session_of


def example(policy: Policy, task: str, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What `policy` sees in an episode of its own, group -> (T, *shape), in a task made with `options`."""
    with closing(make_task(task, 1, **options)) as world:
        return seen_in(world, session_of(policy, 1), policy.reads, EXAMPLE)


@dataclass
class Attempts:
    """How many episodes were played for a recording, and how many of them succeeded."""

    episodes: int = 0
    successes: int = 0

    def __str__(self) -> str:
        return f"{self.successes} of {self.episodes} tries succeeded ({100 * self.successes / self.episodes:.1f} %)"


def record(
    task: BatchTask,
    actor: Any,
    episodes: int,
    groups: Sequence[str],
    *,
    seed: int = 0,
    only_success: bool = True,
    after: int = 0,
    disturb: float = 0.0,
    attempts: Attempts | None = None,
    looks: int = 1,
    quiet: bool = False,
) -> Iterator[Recording]:
    """`episodes` recordings of `actor` in `task`, each with the named observation groups at every step.

    Episodes start from seeds of their own, in rounds of one per copy of the task, until enough were kept:
    the successful ones, or all. A recording ends with its episode, or `after` steps after success where the task goes
    on: who imitates chunks must see them begin near the end too. disturb (m): positions are carried out with noise, see
    Disturbed; what is kept is the action that was meant. attempts counts all that was tried. Of each episode come as
    many recordings as `looks`, one after the other: the same states and actions, seen as `BatchTask.dress` shows them.
    ValueError if three rounds in a row keep nothing, if positions are to be disturbed in a task whose actions are none,
    or for more looks than one of a task that draws none.
    """
    session = session_of(actor, task.num_envs)
    if disturb:
        if not isinstance(task, Assembly):
            raise ValueError(
                f"disturb={disturb} m moves absolute positions, and the actions of {task.spec.name} are none"
            )
        session = Disturbed(session, task, disturb)
    attempts = attempts or Attempts()
    reads = task.spec.check_groups(tuple(dict.fromkeys((*actor.reads, *groups))))
    kept, empty = 0, 0
    with progress(episodes, f"recording {task.spec.name}", quiet=quiet) as bar:
        for round_ in count():
            seeds = recorded(seed, round_ * task.num_envs, task.num_envs)
            before = kept
            for recordings in _round(task, session, seeds, reads, groups, after, looks):
                attempts.episodes += 1
                attempts.successes += recordings[0].success
                if kept < episodes and (recordings[0].success or not only_success):
                    kept += 1
                    yield from recordings
                    bar.advance(1)
            if kept == episodes:
                return
            empty = empty + 1 if kept == before else 0
            if empty == 3:
                raise ValueError(
                    f"record: none of {3 * task.num_envs} episodes in {task.spec.name!r} succeeded; "
                    "use a better actor, an easier task, or only_success=false"
                )


def _round(
    task: BatchTask,
    session: Session,
    seeds: np.ndarray,
    reads: Sequence[str],
    groups: Sequence[str],
    after: int,
    looks: int,
) -> Iterator[list[Recording]]:
    """One episode per copy, in each look, of which only the part that belongs to the recording is kept."""
    rows: list[list[tuple[list[dict[str, np.ndarray]], np.ndarray, np.ndarray]]] = [[] for _ in seeds]
    end, onlooker = _Ends(task.num_envs, task.spec.max_steps, after), _Onlooker(task, session, groups, looks)
    for now in episode_steps(task, onlooker, reads, seeds, end):
        for k, i in enumerate(now.ids):
            seen = [{name: obs[name][k] for name in groups} for obs in (now.obs, *onlooker.seen)]
            rows[i].append((seen, onlooker.meant[k], now.step.reward[i]))
    for i, steps in enumerate(rows):
        in_looks, actions, rewards = zip(*steps, strict=True)
        yield [
            Recording(
                groups={name: np.stack([seen[name] for seen in obs]) for name in groups},
                action=np.stack(actions),
                reward=np.array(rewards),
                success=bool(end.success_N[i]),
                seed=int(seeds[i]),
            )
            for obs in zip(*in_looks, strict=True)
        ]


class _Onlooker:
    """Acts as a session does, and before that sees the same moment in the further looks, group -> (n, *shape) each.

    ``meant`` are the actions to learn from, (n, A): those of the session, as they were before they were disturbed.
    """

    def __init__(self, task: BatchTask, session: Session, groups: Sequence[str], looks: int) -> None:
        self._task, self._session, self._groups, self._looks = task, session, groups, looks
        self.seen: list[dict[str, np.ndarray]] = []
        self.meant: np.ndarray = np.empty(0)

    def begin(self, ids: np.ndarray | None = None) -> None:
        """See `Driver`."""
        self._session.begin(ids)

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        """See `Driver`."""
        self.seen = []
        for look in range(1, self._looks):
            self._task.dress(look)
            self.seen.append(self._task.observe(self._groups, ids))
        if self.seen:
            self._task.dress(0)
        done = self._session.act(obs, ids)
        self.meant = self._session.meant if isinstance(self._session, Disturbed) else done
        return done


class _Ends:
    """Where recordings end that begin together: with their episodes, or `after` steps after success."""

    def __init__(self, copies: int, most: int, after: int) -> None:
        self.after, self.most, self.steps = after, most, 0
        self.success_N = np.zeros(copies, bool)
        self._length_N = np.full(copies, most)

    def __call__(self, step: TaskStep) -> np.ndarray:
        self.steps += 1
        won = step.terminated & ~self.success_N
        self.success_N |= step.terminated | (step.info["is_success"] & step.truncated)
        self._length_N[won] = np.minimum(self.steps + self.after, self.most)
        return self.steps >= self._length_N
