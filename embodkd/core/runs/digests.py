"""Digests of files: beside each in the form of `sha256sum` (NAME.sha256), and one of everything that a folder holds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

SUFFIX = ".sha256"


def write_digest(file: Path) -> None:
    """Note beside `file` what it holds; `sha256sum -c` understands it."""
    beside(file).write_text(f"{_sha256(file)}  {file.name}\n", encoding="ascii")


def check_digest(file: Path) -> None:
    """ValueError if `file` is missing or not what was noted beside it. One of a version that noted nothing passes."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    note = beside(file)
    if note.is_file() and note.read_bytes() != f"{_sha256(file)}  {file.name}\n".encode():
        raise ValueError(
            f"{file}: damaged or changed since it was written (its SHA-256 is not that in {note.name}); restore it or "
            f"write it anew, or remove {note.name} if it was changed on purpose"
        )


def beside(file: Path) -> Path:
    """Where the digest of `file` lies."""
    return file.with_name(file.name + SUFFIX)


def digest_of_folder(folder: Path, names: Collection[str] | None = None) -> str:
    """One digest of the names and contents of all files below `folder`, hidden ones left out; of `names` only."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = file.relative_to(folder)
        if (names is None or file.name in names) and not any(part.startswith(".") for part in name.parts):
            digest.update(f"{_sha256(file)}  {name.as_posix()}\n".encode())
    return digest.hexdigest()


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
