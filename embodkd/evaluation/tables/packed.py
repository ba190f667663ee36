"""Files and folders as bytes, from one machine's disk to another's."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from embodkd.core.runs.files import atomic_folder, write_atomic

_INNER = "it"


@dataclass(frozen=True)
class Packed:
    """path: relative to whichever root; content: a tar of what lies there."""

    path: Path
    content: bytes


def pack(paths: Iterable[Path], root: Path) -> list[Packed]:
    """What lies at each of `paths` below `root`."""
    found = []
    for path in paths:
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w") as tar:
            tar.add(root / path, _INNER, filter=_kept)
        found.append(Packed(path, memory.getvalue()))
    return found


def check_travels(paths: Iterable[Path], root: Path) -> None:
    """ValueError for a path that is not relative to `root` and below it: it would mean another place elsewhere."""
    for path in paths:
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"{path}: not every machine sees this folder, so it must be a relative one below {root} to travel; or "
                "give one on a disk that all share"
            )


def unpack(packed: Iterable[Packed], root: Path) -> None:
    """Put each back below another `root`, whole or not at all, in the place of what is there."""
    for one in packed:
        with tarfile.open(fileobj=io.BytesIO(one.content)) as tar:
            top = tar.getmember(_INNER)
            if top.isdir():
                with atomic_folder(root / one.path) as aside:
                    for member in tar.getmembers():
                        if member is not top:
                            member = member.replace(name=member.name.removeprefix(f"{_INNER}/"))
                            tar.extract(member, aside, filter="data")
            else:
                (root / one.path).parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(top)
                assert content is not None, "a file has a content"
                write_atomic(root / one.path, content.read())


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Not the lock of a run: it says which process holds the folder, there."""
    return None if member.name == f"{_INNER}/.lock" else member
