"""A saved policy judged by recorded episodes: where there is no simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import policy_folder, run_folder
from embodkd.cli.recorded import demos_folders, opened, sizes_of, told
from embodkd.core.ranks import ranks

if TYPE_CHECKING:
    from embodkd.data.lerobot import Demonstrations, Memory
    from embodkd.evaluation.imitation import Imitation
    from embodkd.policies import Policy


def judge_recorded(
    policy: str | Path,
    demos: str | Sequence[str],
    *,
    episodes: int,
    memory: Memory,
    copies: int = 64,
    keys: Mapping[str, str] | None = None,
    failed: bool | None = None,
    out: str | Path | None = None,
    tell: Callable[[str], object] = lambda line: None,
    quiet: bool = False,
) -> Imitation:
    """Measure a saved policy on recorded episodes that it never saw, or say that it saw them; write the result and a
    picture beside the policy. memory: for decoded pictures; keys, failed: as when it was trained unless given; tell:
    hears what there is to say of the reading before a picture is decoded."""
    from embodkd.evaluation.courses import write_courses
    from embodkd.evaluation.imitation import FILE, imitation
    from embodkd.policies import load_policy

    folder = policy_folder(policy)
    actor, meta = load_policy(folder)
    folders = demos_folders(demos)
    extra = meta.get("extra", {})
    keys = extra.get("demos_keys") if keys is None else keys
    failed = extra.get("demos_failed", False) if failed is None else failed
    parts = [_as_seen(where, actor, meta, keys, failed, memory) for where in folders]
    data, names, facts, beware = _unseen(parts, folders, folder, episodes)
    for line in (*data.said, *sizes_of(data, memory.left / 1e9, resizable=False)):
        tell(line)
    protocol = {"demos": [str(where) for where in folders], **facts}
    result, courses = imitation(
        actor, told(data, actor), names,
        protocol=protocol, said=data.said, beware=beware, copies=copies, policy_folder=folder, quiet=quiet,
    )  # fmt: skip
    file = Path(out) if out is not None else run_folder(folder) / FILE

    def keep() -> None:
        written = result.save(file)
        write_courses(written.with_suffix(".png"), courses, actor.action, meta["control_hz"])

    ranks().first_does(keep)
    return result


def _as_seen(
    where: Path, policy: Policy, meta: Mapping[str, Any], keys: Mapping[str, str] | None, failed: bool, memory: Memory
) -> Demonstrations:
    """A dataset with what the policy reads, in its order and at its size; ValueError where that is not possible."""
    from embodkd.data.lerobot import Reading

    sizes = {group.shape[1:] for group in policy.inputs.values() if group.is_image}
    height, width = sizes.pop() if len(sizes) == 1 else (0, 0)
    reading = Reading(keys, (height, width) if height else None)
    part = opened(where, policy.reads, reading, failed=failed, memory=memory)
    for name, group in policy.inputs.items():
        if part.frames[name].shape[1:] != group.shape:
            found = part.frames[name].shape[1:]
            raise ValueError(f"{where}: group {name!r} has shape {found}, the policy reads {group.shape}")
    if part.about.action_size != policy.action_size:
        raise ValueError(f"{where}: has {part.about.action_size} actions, the policy gives {policy.action_size}")
    rate = meta["control_hz"]
    if rate and abs(part.about.fps - rate) > 0.01 * rate:
        raise ValueError(f"{where}: recorded at {part.about.fps:g} Hz, the policy acts at {rate:g} Hz: resample it")
    # Names that only count (state_0, ...) are none: a policy that learned from such has none, and nothing is to say.
    counted = {name: part.about.names.get(name, ()) for name, group in part.about.groups.items() if not group.names}
    names = {name: group.names or counted.get(name, ()) for name, group in policy.inputs.items()}
    names["action"] = policy.action.names
    if not meta.get("extra", {}).get("action_named"):
        del names["action"]
    return part.named(names, str(where), "the policy")


def _unseen(
    parts: Sequence[Demonstrations], folders: Sequence[Path], policy: Path, most: int
) -> tuple[Demonstrations, list[str], dict[str, Any], list[str]]:
    """(up to `most` episodes that the policy did not learn from, their names, facts of the choice, what to beware of);
    all of them if it learned from all."""
    import numpy as np

    from embodkd.data.lerobot import together
    from embodkd.policies import learned_from

    data, known = together(parts), learned_from(policy)
    called = [w.parent.name if w.name == "demos" else w.name for w in folders]
    names = [f"{name}, episode {k}" for name, part in zip(called, parts, strict=True) for k in part.episodes_E]
    learned: list[np.ndarray] = [] if known is None else [np.asarray(v) for n, v in known.items() if "trained" in n]
    seen_E = np.isin(data.digests_E, np.concatenate([np.zeros(0, np.int64), *learned]))
    beware = []
    if known is None:
        beware = ["which demonstrations it learned from is not known: it may have seen these"]
    if seen_E.all():
        beware = [f"it learned from all {len(seen_E)} episodes: this is no error on new ones"]
    chosen = np.flatnonzero(~seen_E | seen_E.all())[:most]
    facts = {"episodes": len(chosen), "learned_from": int(seen_E.sum()), "of": len(seen_E)}
    return data.only(chosen), [names[e] for e in chosen], facts, beware
