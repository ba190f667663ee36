"""Libraries of meshes: a folder of one's own, or the thousand random objects that come with PyBullet."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from embodkd.envs import draws
from embodkd.envs.tasks.grasp.hulls import SUFFIXES, hulls, kept_at, work_out
from embodkd.envs.tasks.grasp.kinds import MASS
from embodkd.envs.tasks.grasp.resting import Resting, dropped, read_resting, write_resting
from embodkd.envs.tasks.grasp.solids import Solid, Thing
from embodkd.envs.tasks.grasp.table import compiled

from embodkd.core.runs.cache import cache_folder
from embodkd.core.runs.files import atomic_folder, write_json
from embodkd.core.runs.reading import read_json

RANDOM = "random_urdfs"
SCALE = 0.015 * 0.6  # what their URDF files say, and that much smaller again: they are 9 to 15 cm long
_RESTING, _NAMES = "resting.safetensors", "objects.json"


def files(objects: str) -> tuple[list[Path], float]:
    """The mesh files of a set in order, and what their numbers are in metres; ``ValueError`` if there are none."""
    if objects == RANDOM:
        spec = importlib.util.find_spec("pybullet_data")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError(f"{RANDOM} come with PyBullet, which is not installed: pip install 'embodkd[bullet]'")
        root, scale = Path(next(iter(spec.submodule_search_locations))) / RANDOM, SCALE
    else:
        root, scale = Path(objects), 1.0
    found = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise ValueError(f"task grasp.objects: no meshes ({', '.join(SUFFIXES)}) in {root}")
    return found, scale


def prepare(objects: str) -> Iterator[str]:
    """Work out the hulls of a set and how its objects rest, and keep both; says what it has done, line by line.

    Objects that cannot be read or never rest are left out, and said.  What was done before a kill stays done.
    """
    paths, scale = files(objects)
    things, left_out = list[Thing](), dict[str, str]()
    for k, path in enumerate(paths):
        try:
            things.append(_thing(paths, path, work_out(path, scale)))
        except ValueError as error:
            left_out[_name(paths, path)] = str(error)
            yield str(error)
        if (k + 1) % 50 == 0:
            yield f"{k + 1} of {len(paths)} meshes"
    resting, rests = dropped(things, compiled(things)) if things else (Resting(*np.zeros((2, 0))), np.zeros(0, bool))
    for thing in (thing for thing, rest in zip(things, rests, strict=True) if not rest):
        left_out[thing.name] = "it does not come to rest on a table"
        yield f"objects: {thing.name} does not come to rest on a table; it is left out"
    if not rests.any():
        raise ValueError(f"objects: none of the {len(paths)} meshes can be used")
    with atomic_folder(_kept(paths, scale)) as aside:
        write_resting(aside / _RESTING, Resting(*(values[rests] for values in resting)))
        names = [thing.name for thing, rest in zip(things, rests, strict=True) if rest]
        write_json(aside / _NAMES, {"objects": names, "left_out": left_out})
    yield f"{len(names)} objects, {len(left_out)} left out"


def prepared(objects: str) -> tuple[list[Thing], Resting]:
    """The objects of a set and how they rest; ``ValueError`` that says how to prepare it where nobody has."""
    paths, scale = files(objects)
    folder = _kept(paths, scale)
    if not (folder / _NAMES).is_file():
        raise ValueError(f"task grasp.objects: {objects} is not prepared; do it once: embodkd data get {objects}")
    names = read_json(folder / _NAMES, dict[str, object])["objects"]
    assert isinstance(names, list)
    of = {_name(paths, path): path for path in paths}
    things = []
    for name in names:
        found = hulls(of[name], scale)
        if found is None:
            raise ValueError(
                f"task grasp.objects: hulls of {name} are gone; make them anew: embodkd data get {objects}"
            )
        things.append(_thing(paths, of[name], found))
    return things, read_resting(folder / _RESTING)


def _thing(paths: Sequence[Path], path: Path, solids: tuple[Solid, ...]) -> Thing:
    name = _name(paths, path)
    share = draws.uniform(draws.forked(np.zeros(1, np.int64), name, 0), "mass", 1)[0, 0]
    return Thing.of(name, "mesh", solids, MASS[0] + (MASS[1] - MASS[0]) * float(share))


def _name(paths: Sequence[Path], path: Path) -> str:
    """The file's own name, with its folders where another file is called so too."""
    alone = sum(other.stem == path.stem for other in paths) == 1
    return path.stem if alone else "_".join(path.with_suffix("").parts[-3:]) + path.suffix.replace(".", "_")


def _kept(paths: Sequence[Path], scale: float) -> Path:
    digest = hashlib.sha256("".join(f"{_name(paths, p)}={kept_at(p, scale).name};" for p in paths).encode())
    return cache_folder() / "objects" / digest.hexdigest()[:32]
