"""Which runs lie in a folder: itself, those in it at any depth, and those of studies; and what of it is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from embodkd.core.runs.study import ASIDE, StudyRun, is_study, natural, read_study
from embodkd.evaluation.report.members import SIGNS, Member, read_member, stays_in

_PARTS = ("policy", "policy_last", "model", "checkpoints", "tensorboard", "videos", "evaluation_samples")
"""Folders of a run, which are no runs."""


@dataclass(frozen=True)
class Found:
    """The runs in a folder, in natural order of their places, and sentences about what was left out."""

    members: tuple[Member, ...]
    left_out: tuple[str, ...]


def find_members(root: Path) -> Found:
    """All runs in ``root``; ValueError if there is none, or if one is a link out of it."""
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; name a run folder, a study, or a folder with several in it")
    found = sorted(_runs(root, root), key=lambda pair: natural(_place(pair[0], root)))
    if not found:
        raise ValueError(f"{root}: neither it nor a folder in it is a run (none has {', '.join(SIGNS)})")
    return Found(tuple(_member(folder, run, root) for folder, run in found), tuple(_left_out(root, found)))


def videos(root: Path, found: Sequence[Member]) -> list[Path]:
    """All mp4 files of the runs and of the folders that they lie in, each once, the common ones first."""
    above = [place for m in found for place in m.folder.parents if place == root or root in place.parents]
    places = [root, *above, *(member.folder for member in found)]
    files = [f for p in dict.fromkeys(places) for f in (*sorted(p.glob("*.mp4")), *sorted(p.glob("videos/*.mp4")))]
    return [f for f in dict.fromkeys(files) if not f.name.startswith(".") and stays_in(f, places)]


def _runs(folder: Path, root: Path) -> Iterator[tuple[Path, StudyRun | None]]:
    """Run folders, and of those in a study what each was asked for."""
    if _is_run(folder):
        yield folder, None
    of_study = {run.folder: run for run in read_study(folder).runs} if is_study(folder) else {}
    for child in _folders(folder):
        if child.is_symlink():  # no way down, which might be one in a circle
            if _is_run(child):
                yield _inside(child, root), of_study.get(child)
        else:
            yield from ((run, of_study.get(run) or asked) for run, asked in _runs(child, root))


def _is_run(folder: Path) -> bool:
    return any((folder / sign).exists() for sign in SIGNS)


def _folders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir() and p.name not in _PARTS and not p.name.startswith(".")]


def _inside(folder: Path, root: Path) -> Path:
    if not stays_in(folder, [root]):
        raise ValueError(
            f"{folder}: is a link out of {root}, and a page holds nothing else of the disk; make a page of "
            f"{folder.resolve()} itself, or copy it here"
        )
    return folder


def _place(folder: Path, root: Path) -> str:
    return root.resolve().name if folder == root else folder.relative_to(root).as_posix()


def _member(folder: Path, asked: StudyRun | None, root: Path) -> Member:
    member = read_member(folder, _place(folder, root))
    if asked is not None:
        member.study, member.choices, member.seed = _place(folder.parent, root), asked.group, asked.seed
    return member


def _left_out(root: Path, found: Sequence[tuple[Path, StudyRun | None]]) -> Iterator[str]:
    """Folders beside the runs that hold none, and runs of a study that were asked for and are not there."""
    folders = {folder for folder, _ in found}
    if root not in folders:
        for child in sorted(_folders(root), key=lambda path: natural(path.name)):
            if not any(child == folder or child in folder.parents for folder in folders):
                yield f"{child.name}: {'a link, which is not followed' if child.is_symlink() else 'no run is in it'}"
    for study in sorted({folder.parent for folder, asked in found if asked}):
        asked_for = {file.parent.name for file in study.glob(f"{ASIDE}/*/overrides.yaml")}
        for name in sorted(asked_for - {folder.name for folder in folders if folder.parent == study}, key=natural):
            yield f"{_place(study, root)}: {name} was asked for and is not there"
