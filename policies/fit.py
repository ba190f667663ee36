"""Whether a policy belongs into a world: the task, robot, engine and rate that it was made for, and what its numbers
mean there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from embodkd.policies.base import Policy

from embodkd.core.config.registry import near
from embodkd.core.sources.group import GroupFacts


def check_task(
    policy: Policy, meta: Mapping[str, Any], spec: Any, where: str = "policy", transfer: bool = False
) -> tuple[str, ...]:
    """What sets the world of a task's `spec` apart from the one that `policy` was made for; () for its own.

    meta: the policy's config.json. ValueError if the two contradict each other about what is privileged, if the policy
    cannot act there at all (groups, shapes, number of actions), or if anything sets them apart and nobody has asked for
    a `transfer`.
    """
    apart = tuple(_apart(policy, meta, spec))
    if apart and not transfer:
        raise ValueError(
            f"{where}: was made for another world ({'; '.join(apart)}); say transfer=true if it shall act here all the "
            "same, which is then said beside every figure"
        )
    for name, seen in policy.inputs.items():
        if name not in spec.groups:
            raise ValueError(f"{where}: reads group {name!r}, task {spec.name!r} lacks it: {near(name, spec.groups)}")
        found = GroupFacts.of(spec.groups[name])
        if (found.shape, found.dtype) != (seen.shape, seen.dtype):
            gives = f"task {spec.name!r} gives {found.shape} {found.dtype}"
            raise ValueError(f"{where}: reads group {name!r} of shape {seen.shape} {seen.dtype}, {gives}")
        if found.privileged != seen.privileged:
            mark = {True: "privileged", False: "deployable"}
            raise ValueError(
                f"{where}: its config.json calls group {name!r} {mark[seen.privileged]}, task {spec.name!r} calls it "
                f"{mark[found.privileged]}: the mark is the task's; somebody changed the file, or made it for another "
                "task of this name"
            )
    if policy.action_size != spec.action_size:
        raise ValueError(f"{where}: gives {policy.action_size} actions, task {spec.name!r} needs {spec.action_size}")
    return apart


def transferred(apart: tuple[str, ...]) -> str:
    """What must be said beside a figure of another world."""
    return f"transfer to another world than it was made for ({'; '.join(apart)})"


def worlds_apart(own: Mapping[str, Any], control_hz: float | None, spec: Any) -> Iterator[str]:
    """What sets the world of a task's `spec` apart from the one in `own`, as from `task_record`: task, robot, engine,
    version and control rate."""
    robots = own.get("options", {}).get("robot"), spec.options.get("robot")
    for what, (before, here) in {
        "task": (own.get("name"), spec.name),
        "robot": robots if None not in robots else (None, None),
        "engine": (own.get("engine"), spec.engine),
    }.items():
        if before != here:
            yield f"{what}: {before or 'none'}, here {here}"
    # What says nothing of versions was made before there were any.
    known = own.get("version") or 1
    if own.get("name") == spec.name and known != spec.version:
        yield f"version of the task: {known}, here {spec.version} (since then: {'; '.join(spec.changes[known - 1 :])})"
    if control_hz and not math.isclose(control_hz, spec.control_hz, rel_tol=1e-3):
        yield f"control rate: {control_hz:.4g} Hz, here {spec.control_hz:.4g} Hz"


def _apart(policy: Policy, meta: Mapping[str, Any], spec: Any) -> Iterator[str]:
    own = meta["task"]
    yield from worlds_apart(own, meta.get("control_hz"), spec)
    known, same = own.get("version") or 1, own.get("name") == spec.name
    words = dict(_other_words(policy, spec))
    if same and known == spec.version:
        yield from (f"group {name!r}: {before!r}, here {here!r}" for name, (before, here) in words.items())
    elif words:
        yield f"another meaning of group {' and '.join(map(repr, words))}"
    if (set(policy.action.low), set(policy.action.high)) != ({-1.0}, {1.0}):
        low, high = min(policy.action.low), max(policy.action.high)
        yield f"actions: from {low:.4g} to {high:.4g}, here from -1 to 1"


def _other_words(policy: Policy, spec: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    """Groups that are of another unit or say something else of themselves, and what they say in both worlds."""
    for name, seen in policy.inputs.items():
        if name in spec.groups:
            found = GroupFacts.of(spec.groups[name])
            for before, here in ((seen.unit, found.unit), (seen.doc, found.doc)):
                # Data sets and earlier versions do not say everything.
                if before and before != here:
                    yield name, (before, here)
