"""Episodes of an expert or a policy, kept as recordings: demonstrations, and what a teacher leaves for its student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np

from embodkd.core.progress import progress
from embodkd.data.lerobot import Recording
from embodkd.envs import BatchTask
from embodkd.policies.session import Session, session_of

RECORDING_SEED = 3_000_000_019  # far from the seeds of training and evaluation


def record(
    task: BatchTask,
    actor: Any,
    episodes: int,
    groups: Sequence[str],
    *,
    seed: int = 0,
    only_success: bool = True,
    after: int = 0,
    quiet: bool = False,
) -> Iterator[Recording]:
    """`episodes` recordings of `actor` in `task`, each with the named observation groups at every step.

    Episodes start from seeds of their own, in rounds of one per copy of the task, until enough were kept:
    the successful ones, or all. A recording ends with its episode, or `after` steps after success where the task goes
    on: who imitates chunks must see them begin near the end too. ValueError if three rounds in a row keep nothing.
    """
    session = session_of(actor, task.num_envs)
    reads = task.spec.check_groups(tuple(dict.fromkeys((*actor.reads, *groups))))
    kept, empty = 0, 0
    with progress(episodes, f"recording {task.spec.name}", quiet=quiet) as bar:
        for round_ in count():
            seeds = RECORDING_SEED + seed * 1_000_003 + round_ * task.num_envs + np.arange(task.num_envs)
            before = kept
            for recording in _round(task, session, seeds, actor.reads, reads, groups, after):
                if kept < episodes and (recording.success or not only_success):
                    kept += 1
                    yield recording
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
    needs: Sequence[str],
    reads: Sequence[str],
    groups: Sequence[str],
    after: int,
) -> Iterator[Recording]:
    """One episode per copy, of which only the part that belongs to the recording is kept."""
    task.reset(seeds)
    session.begin()
    steps: list[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]] = []
    length_N = np.full(task.num_envs, task.spec.max_steps)
    success_N = np.zeros(task.num_envs, bool)
    for k in range(task.spec.max_steps):
        obs = task.observe(reads)
        action = session.act({name: obs[name] for name in needs})
        step = task.step(action)
        steps.append(({name: obs[name] for name in groups}, action, step.reward))
        won = step.terminated & ~success_N
        success_N |= step.terminated | (step.info["is_success"] & step.truncated)
        length_N[won] = np.minimum(k + 1 + after, task.spec.max_steps)
        if k + 1 >= length_N.max():
            break
    for i in range(task.num_envs):
        rows = steps[: length_N[i]]
        yield Recording(
            groups={name: np.stack([obs[name][i] for obs, _, _ in rows]) for name in groups},
            action=np.stack([action[i] for _, action, _ in rows]),
            reward=np.array([reward[i] for _, _, reward in rows]),
            success=bool(success_N[i]),
            seed=int(seeds[i]),
        )
