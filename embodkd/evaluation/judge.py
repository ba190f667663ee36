"""Judge a policy on the episodes of a seed; the result does not depend on how many copies ran side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embodkd.core import Actor
from embodkd.core.ranks import ranks
from embodkd.core.runs.progress import progress
from embodkd.core.sources.chunks import CHUNK
from embodkd.envs.episodes import episode_steps
from embodkd.envs.seeds import judged
from embodkd.evaluation.manifest import manifest_of
from embodkd.evaluation.result import Episode, Evaluation
from embodkd.policies.artefact import read_meta
from embodkd.policies.base import Policy
from embodkd.policies.fit import check_task, transferred
from embodkd.policies.session import session_of

if TYPE_CHECKING:
    from embodkd.envs import BatchTask, TaskSpec, TaskStep


def evaluate(
    policy: Actor,
    task: BatchTask | str,
    options: Mapping[str, Any] | None = None,
    *,
    episodes: int = 200,
    seed: int = 0,
    copies: int = 64,
    chunk: int = CHUNK,
    policy_folder: str | Path | None = None,
    transfer: bool = False,
    quiet: bool = False,
) -> Evaluation:
    """Run ``episodes`` episodes and count the successes at their last steps.

    Of several ranks each must call this and runs its share of the episodes; all get the whole result.
    ``task`` is a built task (then its own number of copies counts) or a name, with ``options`` for ``make_task``
    (``engine`` among them).  ``policy_folder`` is where the policy was loaded from: its world must be this one, unless
    ``transfer`` asks for another, which is then said in ``beware``.  Raises ``ValueError`` when it is not, when the
    task does not offer what the policy reads, or never says whether it succeeded.
    """
    if episodes < 1 or copies < 1 or chunk < 1:
        raise ValueError(f"episodes, copies and chunk must be at least 1, got {episodes}, {copies}, {chunk}")
    facts = manifest_of(policy_folder)
    start = time.monotonic()
    own_seeds = ranks().share(judged(seed, episodes))
    with built(task, max(1, min(copies, len(own_seeds))), options) as world:
        if policy_folder is not None and isinstance(policy, Policy):
            apart = check_task(policy, read_meta(policy_folder), world.spec, str(policy_folder), transfer)
            facts["beware"] = [transferred(apart)] if apart else []
        outcomes = run_episodes(policy, world, own_seeds, chunk=chunk, quiet=quiet)
        outcomes = tuple(ranks().merged(outcomes))
        return Evaluation(
            outcomes, protocol_of(world.spec, episodes, seed), facts | _about(policy, world, start, chunk)
        )


@contextmanager
def built(task: BatchTask | str, copies: int, options: Mapping[str, Any] | None) -> Iterator[BatchTask]:
    """The task of that name, closed afterwards; one that is built already is itself, and has no ``options``."""
    if not isinstance(task, str):
        if options:
            raise ValueError("options belong to a task given by name; this one is already built")
        yield task
        return
    from embodkd.envs import make_task

    with closing(make_task(task, copies, **options or {})) as world:
        yield world


def run_episodes(
    policy: Actor, task: BatchTask, seeds: np.ndarray, *, chunk: int = CHUNK, quiet: bool = True
) -> tuple[Episode, ...]:
    """Run one episode per entry of ``seeds`` (E,), each free copy taking the next one; outcomes in that order."""
    if not len(seeds):
        return ()
    outcomes: dict[int, Episode] = {}
    return_E, steps_E = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    session = session_of(policy, task.num_envs, chunk)
    with progress(len(seeds), f"evaluating {task.spec.name}", quiet=quiet) as bar:
        for now in episode_steps(task, session, policy.reads, seeds):
            success_N, failure_N = named_outcome(task, now.step)
            return_E[now.episode] += now.step.reward[now.ids]
            steps_E[now.episode] += 1
            for copy, e in zip(now.ids[now.over], now.episode[now.over], strict=True):
                facts = (bool(success_N[copy]), failure_N[copy], float(return_E[e]), int(steps_E[e]))
                outcomes[int(e)] = Episode(int(seeds[e]), *facts)
            if now.over.any():
                # without a share of those that ended: successes end early, it would begin far too high
                bar.advance(int(now.over.sum()))
    return tuple(outcomes[e] for e in range(len(seeds)))


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


def protocol_of(spec: TaskSpec, episodes: int, seed: int) -> dict[str, Any]:
    """What an evaluation in this task must agree in with another one that it is compared with."""
    return {
        "task": spec.name, "version": spec.version, "engine": spec.engine, "options": dict(spec.options),
        "episodes": episodes, "seed": seed, "success": "is_success at the last step",
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
