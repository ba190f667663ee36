"""The format of samples: a folder beside an evaluation with samples.json, PNG pictures and WAV sounds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypedDict

from embodkd.core.runs.files import atomic_folder, write_json
from embodkd.core.runs.reading import MEND, read_bytes, read_json

FILE = "samples.json"
LARGEST = 5_000_000
"""Bytes of a picture or a sound."""
_SIGNS = {"png": b"\x89PNG\r\n\x1a\n", "wav": b"RIFF"}


@dataclass(frozen=True)
class Shown:
    """Something to read, to look at or to listen to, or several of these: a text, a PNG, a WAV; empty without one."""

    text: str = ""
    png: bytes = b""
    wav: bytes = b""


@dataclass(frozen=True)
class Sample:
    """asked: what the model was given; made: what it made of that; truth: what there is, where that is known; right:
    whether what it made is right, None where nobody can tell."""

    asked: Shown
    made: Shown
    truth: Shown = Shown()
    right: bool | None = None


@dataclass(frozen=True)
class Samples:
    """about: a sentence on what was asked and how; samples of two models are shown side by side where they were asked
    the same. weights_sha256: whose they are, as the manifest of the evaluation says it."""

    about: str
    rows: tuple[Sample, ...] = ()
    weights_sha256: str | None = None

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all; ValueError for a picture or a sound that is too large."""
        with atomic_folder(folder) as aside:
            rows = []
            for number, sample in enumerate(self.rows):
                texts, files = {}, []
                for place in _PLACES:
                    shown: Shown = getattr(sample, place)
                    texts[place] = shown.text
                    for kind in _SIGNS:
                        if content := getattr(shown, kind):
                            files.append(f"{place}.{kind}")
                            name = f"{number}_{files[-1]}"
                            _check(folder / name, kind, content)
                            (aside / name).write_bytes(content)
                rows.append({**texts, "right": sample.right, "files": files})
            write_json(aside / FILE, {"about": self.about, "weights_sha256": self.weights_sha256, "samples": rows})

    @classmethod
    def load(cls, folder: Path) -> Samples:
        """What `save` wrote; ValueError for what is missing, too large, a link, or of another kind than its name says.

        Names of files are made here of what samples.json says, and never taken from it.
        """
        said = read_json(folder / FILE, _Said)
        rows = []
        for number, row in enumerate(said["samples"]):
            found = {}
            for place in _PLACES:
                known = {kind: f"{place}.{kind}" for kind in _SIGNS if f"{place}.{kind}" in row["files"]}
                files = {kind: _read(folder / f"{number}_{name}", kind) for kind, name in known.items()}
                found[place] = Shown(row[place], **files)
            rows.append(Sample(**found, right=row["right"]))
        return cls(said["about"], tuple(rows), said["weights_sha256"])


_PLACES = tuple(field.name for field in fields(Sample) if field.name != "right")


class _Row(TypedDict):
    asked: str
    made: str
    truth: str
    right: bool | None
    files: list[str]


class _Said(TypedDict):
    about: str
    weights_sha256: str | None
    samples: list[_Row]


def samples_of(evaluation: Path) -> Path:
    """The folder of the samples that belong to an evaluation's file."""
    return evaluation.with_name(f"{evaluation.stem}_samples")


def _read(file: Path, kind: str) -> bytes:
    if file.is_symlink():
        raise ValueError(f"{file}: is a link, and samples are files of their own; {MEND}")
    if file.is_file() and file.stat().st_size > LARGEST:
        raise ValueError(f"{file}: more than {LARGEST:,} bytes; remove the folder, or make it smaller")
    content = read_bytes(file)
    _check(file, kind, content)
    return content


def _check(file: Path, kind: str, content: bytes) -> None:
    if not content.startswith(_SIGNS[kind]):
        raise ValueError(f"{file}: is no {kind.upper()}; {MEND}")
    if len(content) > LARGEST:
        raise ValueError(f"{file}: {len(content):,} bytes; a sample has at most {LARGEST:,}: make it smaller")
