"""Judge a policy: episode i runs on seed + i, and the result does not depend on how many copies ran side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embodkd.core.chunks import CHUNK
from embodkd.core.progress import progress
from embodkd.core.ranks import ranks
from embodkd.core.rollout import Actor
from embodkd.evaluation.manifest import manifest_of
from embodkd.evaluation.result import Episode, Evaluation
from embodkd.policies.session import session_of

if TYPE_CHECKING:
    from embodkd.envs import BatchTask, TaskStep

# Changes what the policy sees: observations of the running copies, their ids (n,), steps since their reset (n,).
Alter = Callable[[dict[str, np.ndarray], np.ndarray, np.ndarray], dict[str, np.ndarray]]


def evaluate(
    policy: Actor,
    task: BatchTask | str,
    options: Mapping[str, Any] | None = None,
    *,
    episodes: int = 200,
    seed: int = 0,
    copies: int = 64,
    chunk: int = CHUNK,
    alter: Alter | None = None,
    policy_folder: str | Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Run ``episodes`` episodes and count the successes at their last steps.

    Of several ranks each must call this and runs its share of the episodes; all get the whole result.
    ``task`` is a built task (then its own number of copies counts) or a name, with ``options`` for ``make_task``
    (``engine`` among them).  ``policy_folder`` is where the policy was loaded from, for the manifest.  Raises
    ``ValueError`` when the task does not offer what the policy reads or never says whether it succeeded.
    """
    if episodes < 1 or copies < 1 or chunk < 1:
        raise ValueError(f"episodes, copies and chunk must be at least 1, got {episodes}, {copies}, {chunk}")
    facts = manifest_of(policy_folder)
    start = time.monotonic()
    own_seeds = ranks().share(seed + np.arange(episodes, dtype=np.int64))
    built = isinstance(task, str)
    if isinstance(task, str):
        from embodkd.envs import make_task

        task = make_task(task, max(1, min(copies, len(own_seeds))), **dict(options or {}))
    elif options:
        raise ValueError("evaluate: options belong to a task given by name; this one is already built")
    try:
        outcomes = run_episodes(policy, task, own_seeds, chunk=chunk, alter=alter, quiet=quiet)
        outcomes = tuple(ranks().merged(outcomes))
        return Evaluation(outcomes, _protocol(task, episodes, seed), facts | _about(policy, task, start, chunk))
    finally:
        if built:
            task.close()


def run_episodes(
    policy: Actor,
    task: BatchTask,
    seeds: np.ndarray,
    *,
    chunk: int = CHUNK,
    alter: Alter | None = None,
    quiet: bool = True,
) -> tuple[Episode, ...]:
    """Run one episode per entry of ``seeds`` (E,), each free copy taking the next one; outcomes in that order."""
    if not len(seeds):
        return ()
    reads, count = task.spec.check_groups(policy.reads), task.num_envs
    outcomes: list[Episode | None] = [None] * len(seeds)
    episode_N = np.where(np.arange(count) < len(seeds), np.arange(count), -1)
    waiting = min(count, len(seeds))
    steps_N, total_N = np.zeros(count, np.int64), np.zeros(count)
    session = session_of(policy, count, chunk)
    # Copies without an episode of their own only keep the batch whole; nothing of theirs is counted.
    task.reset(seeds[np.maximum(episode_N, 0)])
    with progress(len(seeds), f"evaluating {task.spec.name}", quiet=quiet) as bar:
        while (ids := np.flatnonzero(episode_N >= 0)).size:
            obs = task.observe(reads, None if ids.size == count else ids)
            if alter is not None:
                obs = alter(obs, ids, steps_N[ids])
            actions = np.zeros((count, task.spec.action_size), np.float32)
            actions[ids] = session.act(obs, ids)
            step = task.step(actions)
            success_N, failure_N = named_outcome(task, step)
            steps_N[ids] += 1
            total_N[ids] += step.reward[ids]
            over = ids[(step.terminated | step.truncated)[ids]]
            if steps_N[ids].max() > task.spec.max_steps:
                raise ValueError(f"task {task.spec.name!r} went on after its max_steps of {task.spec.max_steps}")
            for copy in over:
                index = episode_N[copy]
                outcomes[index] = Episode(
                    int(seeds[index]), bool(success_N[copy]), failure_N[copy], float(total_N[copy]), int(steps_N[copy])
                )
            waiting = _refill(task, seeds, episode_N, over, waiting)
            session.begin(over)
            steps_N[over], total_N[over] = 0, 0.0
            if over.size:
                done = [o.success for o in outcomes if o is not None]
                bar.advance(over.size, success=f"{100 * sum(done) / len(done):.0f} %")
    return tuple(outcome for outcome in outcomes if outcome is not None)


def _refill(task: BatchTask, seeds: np.ndarray, episode_N: np.ndarray, over: np.ndarray, waiting: int) -> int:
    """Give the copies ``over`` the next episodes, or none; returns the first episode that still waits."""
    fresh = over[: max(0, len(seeds) - waiting)]
    episode_N[over] = -1
    episode_N[fresh] = waiting + np.arange(fresh.size)
    if fresh.size:
        task.reset(seeds[episode_N[fresh]], fresh)
    return waiting + fresh.size


def named_outcome(task: BatchTask, step: TaskStep) -> tuple[np.ndarray, list[str | None]]:
    """Success (N,) and the failure's name (None where there is none) of every copy after a step.

    Raises ``ValueError`` if the task does not say whether it succeeded: that must not count as failing.
    """
    if "is_success" not in step.info:
        raise ValueError(
            f"task {task.spec.name!r} gives no info['is_success'] (it gives: {', '.join(step.info) or 'nothing'}): "
            "it cannot be judged; let its step say for every copy whether the goal holds"
        )
    success_N = np.asarray(step.info["is_success"], bool)
    codes_N = step.info.get("failure", np.zeros(task.num_envs, int))
    names = (None, *task.spec.failures[1:])
    return success_N, [None if ok else names[code] for ok, code in zip(success_N, codes_N, strict=True)]


def _protocol(task: BatchTask, episodes: int, seed: int) -> dict[str, Any]:
    spec = task.spec
    return {
        "task": spec.name, "engine": spec.engine, "options": dict(spec.options), "episodes": episodes, "seed": seed,
        "success": "is_success at the last step",
    }  # fmt: skip


def _about(policy: Actor, task: BatchTask, start: float, chunk: int) -> dict[str, Any]:
    groups = {name: task.spec.groups[name] for name in policy.reads}
    sees = any(group.is_image or len(group.shape) > 1 for group in groups.values())
    return {
        "reads": {name: "privileged" if group.privileged else "deployable" for name, group in groups.items()},
        "renderer": getattr(task, "renderer", "rays") if sees else None,
        "copies": task.num_envs,
        "processes": ranks().size,
        "chunk": chunk,
        "minutes": round((time.monotonic() - start) / 60, 3),
    }
