"""A policy on disk: weights as safetensors, everything else as JSON, a card for people. No pickle.

policy/model.safetensors    parameters and normaliser
       config.json          class by name, arguments, groups read, task, actions (names, units, bounds), rate, golden
       README.md            model card (the hub's format)
       items.safetensors    of a policy that learned from demonstrations: which episodes, by their digests
       examples.safetensors what was seen in one episode, group -> (T, *shape): exports are checked on it
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from embodkd.policies.base import POLICIES, Policy
from embodkd.policies.card import model_card
from torch import Tensor

from embodkd.core.config.ranges import Count
from embodkd.core.runs.artefact import (
    ArtefactConfig,
    building,
    few_enough,
    golden_of,
    golden_unit,
    load_weights,
    read_config,
    read_examples,
    write_artefact,
)
from embodkd.core.runs.files import read_tensors
from embodkd.core.sources.action import ActionFacts, StoredAction
from embodkd.core.sources.group import GroupFacts, StoredGroup

GOLDEN_ROWS, GOLDEN_TOLERANCE = 4, 1e-3


class _Task(TypedDict):
    name: str


class TaskRecord(_Task, total=False):
    """What an artefact says about its task; a data set in its place has no engine, a task of others one of its own."""

    version: Count | None
    engine: str | None
    options: dict[str, Any]


class _Extra(TypedDict, total=False):
    demos_keys: dict[str, str] | None
    demos_failed: bool
    action_named: bool


class _Policy(ArtefactConfig):
    policy: str
    arguments: dict[str, Any]
    groups: dict[str, StoredGroup]
    action: StoredAction
    task: TaskRecord
    golden_action: list[list[float]]


class StoredPolicy(_Policy, total=False):
    """config.json of a policy; groups and action are read by `GroupFacts` and `ActionFacts`."""

    control_hz: float | None
    lineage: dict[str, Any]
    extra: _Extra


def task_record(spec: Any) -> dict[str, Any]:
    """What an artefact says about its task, from a task's spec."""
    return {
        "name": spec.name,
        "version": spec.version,
        "engine": spec.engine,
        "options": dict(getattr(spec, "options", {})),
        "control_hz": float(spec.control_hz),
    }


def save_policy(
    folder: str | Path,
    policy: Policy,
    *,
    task: Mapping[str, Any],
    lineage: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    items: Mapping[str, Tensor] | None = None,
    episode: Mapping[str, Any] | None = None,
) -> Path:
    """Write a policy folder, whole or not at all, in the place of a former one.

    `task`: as from `task_record`; `lineage`: method, teacher, seed...; `extra`: further facts (evaluation...); `items`:
    use ("trained", "held_out") -> digests of the episodes, int64 (E,), see `learned_from`; `episode`: what it saw in
    one, group -> (T, *shape), of which the first steps are kept if all are too many.
    """
    golden = _golden_action(policy)
    if not np.isfinite(golden).all():
        raise ValueError(f"{folder}: the policy's action on the golden input is not finite; its weights are broken")
    config = {
        "policy": POLICIES.name_of(type(policy)),
        "arguments": {k: list(v) if isinstance(v, tuple) else v for k, v in policy.arguments.items()},
        "groups": {name: group.as_dict() for name, group in policy.inputs.items()},
        "action": policy.action.as_dict(),
        "control_hz": task.get("control_hz"),
        "task": {k: v for k, v in task.items() if k != "control_hz"},
        "lineage": dict(lineage or {}),
        "extra": dict(extra or {}),
        "golden_action": golden.tolist(),
    }
    folder = Path(folder)
    seen = {} if episode is None else {name: episode[name] for name in policy.reads}
    examples = {name: np.asarray(rows[: few_enough(seen)]) for name, rows in seen.items()}
    card = model_card(folder.name, config)
    return write_artefact(folder, policy.state_dict(), config, card, {"items": items or {}, "examples": examples})


def learned_from(folder: str | Path) -> dict[str, Tensor] | None:
    """The `items` that `save_policy` was given; None if it is not known which demonstrations a policy learned from."""
    file = Path(folder) / "items.safetensors"
    return read_tensors(file) if file.is_file() else None


def load_policy(folder: str | Path) -> tuple[Policy, dict[str, Any]]:
    """(policy in evaluation mode, its config.json). ValueError, with advice, if anything is missing or does not fit."""
    folder = Path(folder)
    meta = read_meta(folder)
    # Building draws initial weights that are overwritten at once: the caller's random stream must not notice.
    with building(folder), torch.random.fork_rng(devices=[]):
        inputs = {name: GroupFacts.from_dict(name, facts) for name, facts in meta["groups"].items()}
        action = ActionFacts.from_dict(meta["action"])
        policy = POLICIES.get(meta["policy"]).build(inputs, action.size, **meta["arguments"]).acts(action)
    load_weights(policy, folder)
    apart = np.abs(_golden_action(policy) - golden_of(meta["golden_action"], (GOLDEN_ROWS, action.size), folder))
    worst = (apart / np.maximum(1.0, np.subtract(action.high, action.low) / 2)).max()
    if not worst <= GOLDEN_TOLERANCE:
        raise ValueError(
            f"{folder}: the loaded policy acts differently from the saved one (by {worst:.3g} of an action's reach, on "
            "a fixed input): "
            "the weights or the policy's code changed since; save it anew, or use the version that wrote it"
        )
    return policy.eval(), meta


def read_episode(folder: str | Path, policy: Policy) -> dict[str, np.ndarray] | None:
    """What `policy` saw in the episode that its folder carries, group -> (T, *shape); None if it carries none."""
    return read_examples(folder, {name: (seen.shape, seen.dtype) for name, seen in policy.inputs.items()})


def read_meta(folder: str | Path) -> dict[str, Any]:
    """config.json of a policy folder, without building it; ValueError if the folder is not one."""
    silent: dict[str, Any] = {"control_hz": None, "lineage": {}, "extra": {}}
    return silent | read_config(folder, "policy", StoredPolicy)


def _golden_action(policy: Policy) -> np.ndarray:
    """The unclipped action on a fixed input that depends on nothing but the groups' shapes, (GOLDEN_ROWS, A)."""
    obs = {}
    for name, seen in policy.inputs.items():
        unit = golden_unit((GOLDEN_ROWS, *seen.shape))
        values = unit * 255 if seen.dtype == "uint8" else unit - 0.5
        obs[name] = values.astype(seen.dtype)
    with policy.acting():
        return policy(policy.tensors(obs)).float().cpu().numpy()
