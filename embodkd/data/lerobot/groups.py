"""Which observation groups a dataset holds, by whose names, and what of it cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embodkd.core.config.registry import near
from embodkd.core.runs.reading import blamed
from embodkd.core.sources.group import GroupFacts
from embodkd.data.lerobot.info import Feature, Info, check_group, check_task
from embodkd.data.lerobot.layout import CAMERA, INDICES, OUTCOMES, OWN_PATH, SECRETS
from embodkd.data.lerobot.recording import TASK

ACTION, OWN = "action", "embodkd"


@dataclass(frozen=True)
class Stored:
    """A group and where it lies: in this feature, from this number on. names: of its numbers, () where unsaid.
    observed: whether the dataset calls it an observation, or the user does; what is not is read when it is asked for.
    """

    facts: GroupFacts
    feature: str
    start: int = 0
    names: tuple[str, ...] = ()
    observed: bool = True


@dataclass(frozen=True)
class Contents:
    """What can be read: the groups by name, the feature that holds the actions, our own facts of the task ({} where
    there are none), and what cannot be read, with the reason."""

    groups: Mapping[str, Stored]
    action: Feature
    task: Mapping[str, Any]
    left_out: Mapping[str, str]


def contents(info: Info, own: Mapping[str, Any], keys: Mapping[str, str], size: tuple[int, int] | None) -> Contents:
    """Sort the features of a dataset.

    own: as from `read_own`; where it is missing, as after an edit with lerobot's tools, the same facts inside the
    features are taken. keys: the user's names, "action" or a group -> a feature. size: (H, W) that pictures are resized
    to. ValueError if there are no actions or something does not fit.
    """
    for key, feature in keys.items():
        if feature not in info.features:
            raise ValueError(
                f"demos_keys.{key}: {info.where} has no feature {feature!r}: {near(feature, info.features)}"
            )
    action = _action(info, keys)
    left_out: dict[str, str] = {}
    groups: dict[str, Stored] = {}
    for feature, names in _chosen(info, keys, action).items():
        found = _stored(names, info.features[feature], size)
        if isinstance(found, str):
            left_out[feature] = found
        else:
            groups[names] = replace(found, observed=feature in keys.values() or feature.startswith("observation."))
    ours, task = (own["groups"], own.get("task", {})) if own else _inside(info)
    # A feature of ours is known by its parts, unless the user calls it otherwise.
    parts = [part for part in (_ours(info, group, size) for group in ours) if part.feature not in keys.values()]
    known = {part.feature for part in parts}
    groups = {name: stored for name, stored in groups.items() if stored.feature not in known}
    return Contents({**{part.facts.name: part for part in parts}, **groups}, action, task, left_out)


def by_task(found: Contents, info: Info, known: Mapping[str, GroupFacts]) -> Contents:
    """Take vectors apart into the groups of a task, as the names of their numbers say ("proprio_0", "proprio_1", ...):
    what is left of our own facts where they were lost."""
    groups = dict(found.groups)
    for name, stored in found.groups.items():
        parts, at = {}, 0
        while at < len(stored.names):
            group = stored.names[at].rpartition("_")[0]
            facts = known.get(group)
            length = facts.shape[0] if facts is not None and len(facts.shape) == 1 else 0
            expected = tuple(f"{group}_{i}" for i in range(length))
            if facts is None or not length or stored.names[at : at + length] != expected:
                break
            parts[group] = Stored(facts, stored.feature, stored.start + at, expected)
            at += length
        if parts and at == len(stored.names):
            del groups[name]
            groups |= parts
    for name, stored in groups.items():
        if name in known and known[name].shape == stored.facts.shape:
            groups[name] = replace(stored, facts=replace(known[name], dtype=stored.facts.dtype))
    return replace(found, groups=groups)


def axes_of(feature: Feature) -> tuple[int, int, int] | None:
    """(channels, height, width) of a camera, whichever comes first in its shape; None if it is no picture."""
    shape = feature.shape
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) != 3:
        return None
    first, last = shape[0] in (1, 3, 4), shape[2] in (1, 3, 4)
    if first and last:
        first = feature.axes[:1] in (("channels",), ("channel",))
    if first:
        return shape
    return (shape[2], shape[0], shape[1]) if last else None


def _action(info: Info, keys: Mapping[str, str]) -> Feature:
    name = keys.get(ACTION, ACTION)
    if name not in info.features:
        raise ValueError(
            f"{info.where}: has no feature 'action': there is nothing to imitate; say which one it is, for example "
            f"demos_keys={{action: {'actions' if 'actions' in info.features else '...'}}} (it has "
            f"{', '.join(info.features)})"
        )
    action = info.features[name]
    if not _is_numbers(action.dtype):
        raise ValueError(f"{info.file}: features.{name} is of dtype {action.dtype}: actions are numbers")
    return action


def _chosen(info: Info, keys: Mapping[str, str], action: Feature) -> dict[str, str]:
    """Feature -> what its group is called, for all that may be an observation."""
    chosen = {feature: key for key, feature in keys.items() if key != ACTION}
    if TASK in chosen.values():
        raise ValueError(f"demos_keys.{TASK}: that is the group of which sentence was said; choose another name")
    for feature in info.features:
        bookkeeping = feature in (action.name, "timestamp", *INDICES) or feature.startswith("next.")
        if not bookkeeping and feature not in OUTCOMES and feature not in chosen:
            short = feature.removeprefix(CAMERA).removeprefix("observation.")
            chosen[feature] = feature if short in chosen.values() or short in (TASK, ACTION) else short
    return chosen


def _stored(name: str, feature: Feature, size: tuple[int, int] | None) -> Stored | str:
    """The group that a feature is, or why it cannot be read."""
    if feature.is_camera:
        axes = axes_of(feature)
        if axes is None:
            return f"its shape {list(feature.shape)} is not that of a picture"
        channels = 1 if feature.is_depth or axes[0] == 1 else 3
        unit = "log depth, 0 to 255" if feature.is_depth else ""
        return Stored(GroupFacts(name, (channels, *(size or axes[1:])), False, "uint8", unit), feature.name)
    if not _is_numbers(feature.dtype):
        return f"it is of dtype {feature.dtype}"
    if feature.dtype == "uint8" and len(feature.shape) == 3:
        return "pictures as tables of numbers are not read; write them as dtype image or video"
    facts = GroupFacts(name, (feature.size,), feature.name == SECRETS)
    return Stored(facts, feature.name, names=feature.names)


def _inside(info: Info) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """Our facts as they lie in the features, which lerobot's own tools keep: (groups, task)."""
    groups: list[Mapping[str, Any]] = []
    task: Mapping[str, Any] = {}
    for name, feature in info.features.items():
        facts = feature.facts.get(OWN, {})
        if not isinstance(facts, Mapping) or not isinstance(facts.get("groups", []), list):
            raise ValueError(f"{info.file}: features.{name}.info.{OWN} is not as we write it; remove it")
        groups += [{**group, "feature": name} for group in facts.get("groups", ())]
        task = facts.get("task", task)
        if not isinstance(task, Mapping):
            raise ValueError(f"{info.file}: features.{name}.info.{OWN}.task is not a mapping; remove it")
    for group in groups:
        check_group(info.file, group)
    check_task(info.file, task)
    return groups, task


def _ours(info: Info, group: Mapping[str, Any], size: tuple[int, int] | None) -> Stored:
    facts = {k: v for k, v in group.items() if k not in ("feature", "start", "name")}
    where: Path = info.where / OWN_PATH
    name = group["feature"]
    with blamed(where):
        known = GroupFacts.from_dict(group["name"], facts)
    if name not in info.features:
        raise ValueError(f"{where}: groups.{known.name} lies in {name!r}, which {info.file} does not have")
    feature, end = info.features[name], group["start"] + known.shape[0]
    if known.is_image != feature.is_camera or (not known.is_image and (len(known.shape) != 1 or end > feature.size)):
        raise ValueError(
            f"{where}: groups.{known.name} of shape {list(known.shape)} from {group['start']} on does not fit "
            f"{name!r} of shape {list(feature.shape)} in {info.file}; fetch or write them anew"
        )
    if known.is_image:
        known = replace(known, shape=(known.shape[0], *size) if size else known.shape)
    return Stored(known, name, group["start"], () if known.is_image else feature.names[group["start"] : end])


def _is_numbers(dtype: str) -> bool:
    return dtype == "bool" or dtype.startswith(("float", "int", "uint"))
