"""What can be wrong with a file: name -> (what is done to it). Those of a field are given its place and value."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

Damage = Callable[[Path], object]
DEEP = "[" * 10_000 + "]" * 10_000


def _bytes(change: Callable[[bytes], bytes]) -> Damage:
    return lambda file: file.write_bytes(change(file.read_bytes()))


def _instead(make: Callable[[Path], object]) -> Damage:
    def put(file: Path) -> None:
        file.unlink()
        make(file)

    return put


def _locked(file: Path) -> None:
    file.chmod(0)


WHOLE: dict[str, Damage] = {
    "missing": Path.unlink,
    "empty": _bytes(lambda said: b""),
    "blank": _bytes(lambda said: b" \n\t\n"),
    "cut in half": _bytes(lambda said: said[: len(said) // 2]),
    "binary": _bytes(lambda said: bytes(range(256)) * 4),
    "zeros": _bytes(lambda said: bytes(len(said))),
    "not UTF-8": _bytes(lambda said: said.replace(b":", b":\xff", 1)),
    "null": _bytes(lambda said: b"null\n"),
    "a list": _bytes(lambda said: b"[1, 2]\n"),
    "a number": _bytes(lambda said: b"3\n"),
    "a text": _bytes(lambda said: b'"words"\n'),
    "NaN": _bytes(lambda said: b"NaN\n"),
    "deep": _bytes(lambda said: DEEP.encode()),
    "deep inside": _bytes(lambda said: said.replace(b"{", b'{"inside": ' + DEEP.encode() + b", ", 1)),
    "a long number": _bytes(lambda said: said.replace(b"{", b'{"long": ' + b"9" * 5000 + b", ", 1)),
    "a key twice": _bytes(lambda said: said.replace(b"{", b'{"twice": 1, "twice": 2, ', 1)),
    "more behind it": _bytes(lambda said: said + b"\n}{"),
    "a mark in front": _bytes(lambda said: b"\xef\xbb\xbf" + said),
    "a folder": _instead(Path.mkdir),
    "a loop of links": _instead(lambda file: file.symlink_to(file.name)),
    "a link to nothing": _instead(lambda file: file.symlink_to("nowhere")),
    "a pipe": _instead(lambda file: os.mkfifo(file)),
    "locked": _locked,
}
YAML: dict[str, Damage] = {
    "python object": _bytes(lambda said: said + b"evil: !!python/object/apply:os.getcwd []\n"),
    "bad tag": _bytes(lambda said: said + b"bad: !!int ''\nworse: !!timestamp x\n"),
    "a bomb": _bytes(
        lambda said: b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (k, k, b", ".join([b"*a%d" % (k - 1)] * 9))
                                                  for k in range(1, 12))
    ),
    "itself inside": _bytes(lambda said: said + b"own: &own [*own]\n"),
    "tabs": _bytes(lambda said: said + b"\tx: 1\n"),
    "a key twice": _bytes(lambda said: said + said),
    "a bad date": _bytes(lambda said: said + b"day: 2001-99-99\n"),
}  # fmt: skip

GONE = object()
VALUES: dict[str, Any] = {
    "gone": GONE,
    "null": None,
    "a text": "words",
    "NaN": float("nan"),
    "huge": 10**30,
    "below": -1,
    "a list": [1, "two"],
    "a mapping": {"key": []},
    "true": True,
    "infinite": float("inf"),
    "nothing": "",
    "deep": json.loads("[" * 80 + "]" * 80),
}


def field(place: str, value: Any) -> Damage:
    """`place` ("per_episode.0.seed") holds `value`, or is gone; a digest beside the file is that of the new content."""

    def put(file: Path) -> None:
        text = file.read_text()
        lines = text.splitlines() if file.suffix == ".jsonl" else []
        said = json.loads(lines[0]) if lines else yaml.safe_load(text)
        *way, last = [int(part) if part.isdigit() else part for part in place.split("/")]
        holder = said
        for part in way:
            holder = holder[part]
        if value is GONE:
            if last not in holder and isinstance(holder, dict):
                pytest.skip(f"{place} is never written where there is nothing to say")
            del holder[last]
        else:
            holder[last] = value
        if lines:
            file.write_text("\n".join([json.dumps(said), *lines[1:]]) + "\n")
        else:
            file.write_text(yaml.safe_dump(said) if file.suffix == ".yaml" else json.dumps(said))
        signed(file)

    return put


def signed(file: Path) -> None:
    """The digest beside a file says what it holds now."""
    from embodkd.core.runs.digests import beside, write_digest

    if beside(file).exists():
        write_digest(file)


def _tensors(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Damage:
    def put(file: Path) -> None:
        from safetensors import safe_open
        from safetensors.numpy import load_file, save_file

        with safe_open(file, "np") as opened:
            metadata = opened.metadata()
        save_file(change(load_file(file)), file, metadata)
        signed(file)

    return put


def _flipped(at: float) -> Damage:
    def flip(said: bytes) -> bytes:
        place = min(len(said) - 1, int(at * len(said)))
        return said[:place] + bytes([said[place] ^ 1]) + said[place + 1 :]

    return _bytes(flip)


def _unsigned(damage: Damage) -> Damage:
    def put(file: Path) -> None:
        damage(file)
        file.with_name(file.name + ".sha256").unlink()

    return put


TENSORS: dict[str, Damage] = {
    **{f"flipped at {at}": _flipped(at) for at in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)},
    **{f"{name}, unsigned": _unsigned(WHOLE[name]) for name in ("empty", "binary", "zeros", "cut in half")},
    "header cut, unsigned": _unsigned(_bytes(lambda said: said[:12])),
    "a long header, unsigned": _unsigned(_bytes(lambda said: b"\xff" * 8 + said[8:])),
    "none of them": _tensors(lambda held: {}),
    "one more": _tensors(lambda held: {**held, "more": np.zeros(3, np.float32)}),
    "one less": _tensors(lambda held: dict(list(held.items())[1:])),
    "other shapes": _tensors(lambda held: {name: np.concatenate([v, v]) if v.ndim else v for name, v in held.items()}),
    "other types": _tensors(lambda held: {name: value.astype(np.int8) for name, value in held.items()}),
    "a note of another": lambda file: file.with_name(file.name + ".sha256").write_text(f"{'0' * 64}  {file.name}\n"),
    "a note of nothing": lambda file: file.with_name(file.name + ".sha256").write_text(""),
    "a binary note": lambda file: file.with_name(file.name + ".sha256").write_bytes(bytes(range(256))),
    **{name: WHOLE[name] for name in ("missing", "empty", "cut in half", "binary", "a folder", "a loop of links",
                                      "a link to nothing", "a pipe", "locked")},
}  # fmt: skip


def unlocked(folder: Path) -> None:
    """Whatever was done to it, it can be removed."""
    for path in folder.rglob("*"):
        if not path.is_symlink() and path.is_file():
            path.chmod(0o644)


def another(place: str) -> Damage:
    """In its place another good file of the same kind."""
    return lambda file: shutil.copy(file.parent / place, file)
