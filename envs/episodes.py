"""The one loop over episodes: an actor in all copies of a task, one episode per seed; each free copy takes the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from embodkd.envs.task import BatchTask, TaskStep


class Driver(Protocol):
    """Who acts: a session of a policy, or anything else that is told where episodes begin."""

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Episodes start in the copies `ids`; None: in all of them."""
        ...

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        """Actions of the copies `ids`, float32 (n, A), for a row of observations each."""
        ...


class Moment(NamedTuple):
    """One control step. Rows (n, ...) are of the copies `ids` that run the episodes `episode`; ``step`` is of all N.

    ``obs`` is what was seen before the step, ``over`` says whose episode it was the last step of.
    """

    ids: np.ndarray
    episode: np.ndarray
    obs: dict[str, np.ndarray]
    actions: np.ndarray
    step: TaskStep
    over: np.ndarray


def ended(step: TaskStep) -> np.ndarray:
    """Whose episode a step ends, bool (N,)."""
    return step.terminated | step.truncated


def episode_steps(
    task: BatchTask,
    driver: Driver,
    reads: Sequence[str],
    seeds: np.ndarray,
    is_over: Callable[[TaskStep], np.ndarray] = ended,
) -> Iterator[Moment]:
    """All steps of one episode per entry of ``seeds`` (E,), with the groups ``reads`` observed.

    A moment is given out before anything starts anew, so the task may be looked at as the step left it; an episode is
    the same however many copies there are.  is_over: which episodes end with a step, for those who want less or more of
    them.  ``ValueError`` for groups that the task lacks, or if it goes on after its ``max_steps``.
    """
    reads, count = task.spec.check_groups(reads), task.num_envs
    episode_N = np.where(np.arange(count) < len(seeds), np.arange(count), -1)
    waiting = min(count, len(seeds))
    steps_N = np.zeros(count, np.int64)
    # Copies without an episode of their own only keep the batch whole; nothing of theirs is given out.
    task.reset(seeds[np.maximum(episode_N, 0)])
    driver.begin()
    while (ids := np.flatnonzero(episode_N >= 0)).size:
        obs = task.observe(reads, None if ids.size == count else ids)
        actions_NA = np.zeros((count, task.spec.action_size), np.float32)
        actions_NA[ids] = driver.act(obs, ids)
        step = task.step(actions_NA)
        steps_N[ids] += 1
        if steps_N[ids].max() > task.spec.max_steps:
            raise ValueError(f"task {task.spec.name!r} went on after its max_steps of {task.spec.max_steps}")
        over_n = is_over(step)[ids]
        yield Moment(ids, episode_N[ids], obs, actions_NA[ids], step, over_n)
        over = ids[over_n]
        fresh = over[: len(seeds) - waiting]
        episode_N[over], steps_N[over] = -1, 0
        episode_N[fresh] = waiting + np.arange(fresh.size)
        waiting += fresh.size
        if fresh.size:
            task.reset(seeds[episode_N[fresh]], fresh)
        driver.begin(over)


def seen_in(task: BatchTask, driver: Driver, reads: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """What is seen before each step of one episode, group -> (T, *shape)."""
    steps = [now.obs for now in episode_steps(task, driver, reads, np.array([seed]))]
    return {name: np.concatenate([obs[name][:1] for obs in steps]) for name in reads}
