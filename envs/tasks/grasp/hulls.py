"""Meshes as a few convex hulls each, by CoACD (Wei et al., SIGGRAPH 2022), worked out once and kept on disk.

MuJoCo takes every mesh for its convex hull: a bowl would be a lump, and nothing could be grasped by a rim.  Files are
read by trimesh: MuJoCo's own reader of OBJ files drops faces of some of them without a word, 350 of the 474 of the
first of PyBullet's random objects.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from importlib import metadata
from pathlib import Path

import numpy as np
from embodkd.envs.tasks.grasp.solids import SLOTS, Solid

from embodkd.core.runs.cache import cache_folder
from embodkd.core.runs.files import atomic_folder, read_tensors, write_tensors

SUFFIXES = (".obj", ".stl", ".ply", ".off")
HOW = {"threshold": 0.05, "max_convex_hull": SLOTS, "max_ch_vertex": 32, "decimate": True, "seed": 0}
_SMALL, _LARGE = 0.01, 0.2  # m: the longest side of what a hand could take
_FILE = "hulls.safetensors"


def kept_at(file: Path, scale: float) -> Path:
    """The folder where the hulls of this file at this scale lie, or will lie."""
    said = {"how": HOW, "scale": scale, "coacd": _version()}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode() + file.read_bytes())
    return cache_folder() / "hulls" / digest.hexdigest()[:32]


def hulls(file: Path, scale: float) -> tuple[Solid, ...] | None:
    """The hulls of a mesh, if they have been worked out."""
    folder = kept_at(file, scale)
    if not (folder / _FILE).is_file():
        return None
    found = read_tensors(folder / _FILE)
    return tuple(Solid("hull", corners=found[name].astype(float), name="hull") for name in sorted(found))


def work_out(file: Path, scale: float) -> tuple[Solid, ...]:
    """The hulls of a mesh, worked out now unless they are there; seconds for each.

    Raises ``ValueError`` for a file that holds no mesh, or one of no size for a hand.
    """
    if (found := hulls(file, scale)) is not None:
        return found
    corners, faces = read_mesh(file, scale)
    import coacd

    coacd.set_log_level("error")
    parts = coacd.run_coacd(coacd.Mesh(corners, faces), **HOW)
    with atomic_folder(kept_at(file, scale)) as aside:
        write_tensors(aside / _FILE, {str(k): np.asarray(part[0], np.float32) for k, part in enumerate(parts)})
    found = hulls(file, scale)
    assert found
    return found


def read_mesh(file: Path, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners (V, 3) in m and triangles (F, 3) of a mesh; ``ValueError`` that names the file if it is none."""
    import trimesh

    try:
        mesh = trimesh.load(file, force="mesh", process=False)
        corners, faces = scale * np.asarray(mesh.vertices, float), np.asarray(mesh.faces)
    except Exception as error:  # whatever a damaged file makes a reader raise
        raise ValueError(f"objects: {file} cannot be read as a mesh ({error}); leave it out") from None
    if len(faces) < 4 or not np.isfinite(corners).all():
        raise ValueError(f"objects: {file} is no solid: {len(faces)} triangles, or corners that are no numbers")
    side = float(np.ptp(corners, axis=0).max())
    if not _SMALL <= side <= _LARGE:
        raise ValueError(f"objects: {file} is {side:.3g} m long, a hand takes {_SMALL} to {_LARGE}; meshes are in m")
    return corners, faces


def _version() -> str:
    """The version of CoACD; ``ImportError`` that says what to install where it or its reader is missing."""
    for package in ("coacd", "trimesh"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"objects of meshes need {package}, which is missing: pip install 'embodkd[objects]'")
    return metadata.version("coacd")
