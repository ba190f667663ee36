"""Data that no Python package carries: fetched once by the user's own package clients, kept in the user's cache.

Nothing is fetched on the way: `embodkd data get NAME` does it, everything else only reads the cache, which lies in
$EMBODKD_CACHE, else $XDG_CACHE_HOME/embodkd, else ~/.cache/embodkd. An asset is a folder with data.safetensors and
origin.json (where it came from, names of classes); it is whole or absent.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from embodkd.core.config.registry import Registry
from embodkd.core.runs.cache import cache_folder
from embodkd.core.runs.files import atomic_folder, read_tensors, write_json, write_tensors
from embodkd.core.runs.reading import read_json

ASSETS = Registry("asset")
"""Functions `(work: Path) -> (tensors, origin)` that fetch into the empty folder `work`, with `title=`, `size=`."""

Fetch = Callable[[Path], tuple[Mapping[str, Tensor], Mapping[str, Any]]]


def present(name: str) -> bool:
    """Whether the asset `name` has been fetched."""
    return (cache_folder() / name / "data.safetensors").is_file()


def get(name: str) -> Path:
    """Fetch the asset `name` unless it is there; its folder. ValueError that says what is missing or went wrong."""
    fetch: Fetch = ASSETS.get(name)
    folder = cache_folder() / name
    if not present(name):
        with atomic_folder(folder) as aside:
            work = aside / "work"
            work.mkdir()
            tensors, origin = fetch(work)
            shutil.rmtree(work)
            write_tensors(aside / "data.safetensors", tensors)
            write_json(aside / "origin.json", origin)
    return folder


def load(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, origin) of a fetched asset; ValueError that names the command to fetch it otherwise."""
    if not present(name):
        raise ValueError(f"data {name}: not in {cache_folder()}; fetch it once: embodkd data get {name}")
    folder = cache_folder() / name
    return read_tensors(folder / "data.safetensors"), read_json(folder / "origin.json", dict[str, Any])


def client(words: Sequence[str], folder: Path) -> None:
    """Run a package client in `folder`; ValueError if it is not installed or fails, with its last words."""
    if shutil.which(words[0]) is None:
        raise ValueError(f"{words[0]} is not installed; it is needed to run: {' '.join(words)}")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["nothing said"]
        raise ValueError(f"`{' '.join(words)}` failed ({said[-1].strip()}); it needs a connection to its registry")


def npm_member(package: str, version: str, integrity: str, members: Sequence[str], folder: Path) -> list[bytes]:
    """Files of an npm package, read from its archive without running anything of it.

    integrity: the registry's "sha512-..." of this version; ValueError if the archive's differs.
    """
    client(["npm", "pack", "--silent", "--ignore-scripts", f"{package}@{version}"], folder)
    archive = folder / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        raise ValueError(f"{package}@{version}: its archive has integrity {found}, expected {integrity}; not used")
    with tarfile.open(archive) as opened:
        files = [opened.extractfile(f"package/{member}") for member in members]
        return [file.read() for file in files if file is not None]
