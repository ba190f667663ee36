"""WordNet 3.0 (Miller 1995): 117,659 meanings, each with a definition and one of 45 lexicographer's files.

Debian's package wordnet-base has it (permissive licence): read where it is installed, else fetched and unpacked
without root by `embodkd data get wordnet`.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embodkd.data.assets import ASSETS, client, load, present

DEBIAN = "wordnet-base"
INSTALLED = Path("/usr/share/wordnet")
PARTS = ("adj", "adv", "noun", "verb")
SHA256 = "512500d3515c3ebb31bb9bce65910968272a93103d6d4687f99cefaa1f6e11ed"
"""Of the files data.adj, data.adv, data.noun and data.verb, one after the other."""
SOURCE = "WordNet 3.0"
FILES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
"""The lexicographer's files in the order of their numbers."""
_LINE = re.compile(rb"^\d{8} (\d\d) [^|]*\| ([^\n]*)$", re.MULTILINE)


@cache
def definitions() -> tuple[tuple[str, ...], np.ndarray]:
    """(the definition of each meaning, the number of its file), in the order of the files adj, adv, noun, verb.

    A definition ends where usage examples or further notes begin, at the first semicolon. ValueError that names the
    command to fetch it if it is not there.
    """
    raw = _installed() if not present("wordnet") and INSTALLED.is_dir() else _fetched()
    found = _LINE.findall(raw)
    texts = tuple(gloss.partition(b";")[0].strip().decode("latin-1") for _, gloss in found)
    return texts, np.array([int(number) for number, _ in found])


@cache
def examples() -> tuple[str, ...]:
    """The examples of use, each as often as it is there, in the order of the files. ValueError as `definitions`."""
    raw = _installed() if not present("wordnet") and INSTALLED.is_dir() else _fetched()
    quoted = (text for _, gloss in _LINE.findall(raw) for text in re.findall(rb'"([^"]+)"', gloss))
    return tuple(text.strip().decode("latin-1") for text in quoted)


@ASSETS.register("wordnet", title="WordNet 3.0", size="6.5 MB")
def fetch(work: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The data files as bytes, uint8 (B,); ValueError unless they are the published ones."""
    if INSTALLED.is_dir():
        raw, source = _installed(), f"Debian package {DEBIAN}, installed"
    else:
        client(["apt-get", "download", DEBIAN], work)
        (package,) = work.glob("*.deb")
        client(["dpkg-deb", "-x", package.name, "root"], work)
        raw, source = _read(work / "root" / INSTALLED.relative_to("/")), f"Debian package {package.name}"
    return {"data": torch.frombuffer(bytearray(raw), dtype=torch.uint8)}, {"source": source, "licence": "WordNet 3.0"}


def _installed() -> bytes:
    return _read(INSTALLED)


def _read(folder: Path) -> bytes:
    missing = [f"data.{part}" for part in PARTS if not (folder / f"data.{part}").is_file()]
    if missing:
        raise ValueError(f"{folder}: lacks {', '.join(missing)}; install Debian's package {DEBIAN} anew")
    raw = b"".join((folder / f"data.{part}").read_bytes() for part in PARTS)
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        raise ValueError(f"wordnet from {folder}: sha256 {found}, expected {SHA256}; not used")
    return raw


def _fetched() -> bytes:
    tensors, _ = load("wordnet")
    return tensors["data"].numpy().tobytes()
