"""Stored demonstrations, as a policy sees them: one that learns from them, or one that is judged by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embodkd.data.lerobot import About, Demonstrations, Memory, Reading
    from embodkd.policies import Policy


def demos_folders(given: str | Sequence[str]) -> list[Path]:
    """The datasets meant: each itself, or `demos/` inside the run folder that it was recorded into; ValueError for one
    that is meant twice, whose episodes would be learned from and held out at once."""
    folders = []
    for path in map(Path, [given] if isinstance(given, str) else given):
        inside = path / "demos"
        folders.append(inside if not (path / "meta").is_dir() and (inside / "meta").is_dir() else path)
    meant = [path.resolve() for path in folders]
    for path, real in zip(folders, meant, strict=True):
        if meant.count(real) > 1:
            raise ValueError(f"demos: {path} is named twice; name each dataset once")
    return folders


def opened(path: Path, groups: Sequence[str], reading: Reading, *, failed: bool, memory: Memory) -> Demonstrations:
    """A dataset as `read_dataset` gives it; all that is said of it names it."""
    from embodkd.data.lerobot import read_dataset

    part = read_dataset(path, groups, reading, failed=failed, memory=memory)
    return replace(part, said=tuple(f"{path}: {line}" for line in part.said))


def told(data: Demonstrations, policy: Policy) -> Demonstrations:
    """The same with sentences numbered as the policy does; ValueError for one that it knows nothing of."""
    import numpy as np

    from embodkd.data.lerobot import TASK
    from embodkd.policies import ChunkPolicy

    if TASK not in data.frames:
        return data
    assert isinstance(policy, ChunkPolicy)
    number_S = np.zeros(len(data.about.tasks), np.int64)
    for place in np.unique(data.frames[TASK]):
        number_S[place] = policy.number_of(data.about.tasks[place])
    return replace(data, frames={**data.frames, TASK: number_S[data.frames[TASK]]})


def seen(name: str, arguments: Mapping[str, Any], facts: About) -> tuple[dict[str, Any], list[str]]:
    """(a student's arguments, what to say of them): where it reads by default a group that the dataset lacks, all
    groups that are left at their default become what the dataset has to observe. ValueError if it has nothing."""
    from embodkd.core.config.schema import parameters
    from embodkd.policies import POLICIES

    known = parameters(POLICIES.get(name))
    default = {key: tuple(known[key].default) for key in ("vectors", "cameras", "shifted") if key in known}
    left = {key: groups for key, groups in default.items() if tuple(arguments.get(key, groups)) == groups}
    lacking = [g for key, groups in left.items() if key != "shifted" for g in groups if g not in facts.groups]
    if not lacking:
        return dict(arguments), []
    groups = [facts.groups[group] for group in facts.observed if not facts.groups[group].privileged]
    pictures = [group.name for group in groups if group.is_image]
    there: dict[str, Any] = {
        "vectors": [g.name for g in groups if not g.is_image],
        "cameras": pictures,
        "shifted": pictures,
    }
    if not groups or ("vectors" in left and not there["vectors"]):
        raise ValueError(
            f"the dataset calls none of its numbers an observation; say which is one, for example "
            f"demos_keys={{state: ...}} (it has {', '.join(facts.groups)})"
        )
    chosen = {key: there[key] for key in left}
    words = ", ".join(f"{key} {groups}" for key, groups in chosen.items())
    return {**arguments, **chosen}, [f"the dataset has no {', '.join(lacking)}: the student reads {words}"]


def sizes_of(data: Demonstrations, memory_gb: float, *, resizable: bool = True) -> list[str]:
    """What the pictures come to once they are decoded, before any is; resizable: image_size may make them smaller."""
    from embodkd.data.lerobot import Pictures

    cameras = {name: values for name, values in data.frames.items() if isinstance(values, Pictures)}
    if not cameras:
        return []
    total = sum(values.nbytes for values in cameras.values()) / 1e9
    sizes = ", ".join(f"{name} {values.shape[2]}x{values.shape[3]}" for name, values in cameras.items())
    line = f"{len(data.action_FA)} frames of {sizes} are {total:.2g} GB decoded"
    if total > memory_gb:
        height, width = (round(side * (memory_gb / total) ** 0.5) for side in next(iter(cameras.values())).shape[2:])
        mend = f"image_size=[{height},{width}] would fit, or a larger memory_gb" if resizable else "enlarge memory_gb"
        line += f", of which {memory_gb:g} GB are kept and the rest is decoded at every look, which is slow: {mend}"
    return [line]


def check_range(data: Demonstrations, where: Path) -> None:
    """ValueError if an action is none of a simulated task's."""
    largest = abs(data.action_FA).max(initial=0.0)
    if largest > 1.0 + 1e-6:
        raise ValueError(
            f"{where}: its actions reach {largest:.4g}, those of its task lie within [-1, 1]; scale them when recording"
        )
