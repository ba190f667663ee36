"""How objects come to rest: each is dropped a few times on the table, and where it lies then is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from embodkd.envs import draws
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.table import table_scene
from embodkd.envs.tasks.grasp.slots import Slots, add_slots
from embodkd.envs.tasks.grasp.solids import Thing
from embodkd.envs.tasks.grasp.table import Table

from embodkd.core.runs.files import read_tensors, write_tensors

DROPS = 6  # of each object
TIMESTEP = 0.005  # s, that of the task
_TOGETHER = 256  # copies side by side
_FALL, _CALM, _MORE = 200, 25, 32  # steps: free, between two looks, looks
_STILL = 0.01  # m/s and rad/s
_HALF = 0.4  # m, of the table


class Resting(NamedTuple):
    """Poses at rest, up to place and yaw: height of the object's frame (M, DROPS) and its quaternion (M, DROPS, 4)."""

    height: np.ndarray
    quat: np.ndarray


def write_resting(path: Path, resting: Resting) -> None:
    """Keep poses in a file, with its digest beside it."""
    write_tensors(path, {name: values.astype(np.float32) for name, values in resting._asdict().items()})


def read_resting(path: Path) -> Resting:
    """Poses that were kept; ValueError if the file is damaged."""
    return Resting(**{name: values.astype(float) for name, values in read_tensors(path).items()})


def settled(things: Sequence[Thing], table: Table, *, threads: int = 0) -> Resting:
    """How all these objects rest; ``ValueError`` for one that never comes to rest on the table."""
    resting, rests = dropped(things, table, threads=threads)
    for row in np.flatnonzero(~rests).tolist():
        raise ValueError(f"objects: {things[row].name} does not come to rest on a table; leave it out")
    return resting


def dropped(things: Sequence[Thing], table: Table, *, threads: int = 0) -> tuple[Resting, np.ndarray]:
    """Drop all objects a few times; and which of them come to rest at all, (M,).

    A drop that has not come to rest lies as another one of the same object does.
    """
    which = np.repeat(np.arange(len(things)), DROPS)
    heights, quats, rests = [], [], []
    for first in range(0, len(which), _TOGETHER):
        some = which[first : first + _TOGETHER]
        height, quat, rest = _fallen(things, table, some, _keys(things, some, first), threads)
        heights.append(height)
        quats.append(quat)
        rests.append(rest)
    height, quat = np.concatenate(heights).reshape(-1, DROPS), np.concatenate(quats).reshape(-1, DROPS, 4)
    rest = np.concatenate(rests).reshape(-1, DROPS)
    for row in np.flatnonzero(rest.any(axis=1) & ~rest.all(axis=1)).tolist():
        good, bad = np.flatnonzero(rest[row]), np.flatnonzero(~rest[row])
        taken = good[np.arange(len(bad)) % len(good)]
        height[row, bad], quat[row, bad] = height[row, taken], quat[row, taken]
    return Resting(height, quat), np.asarray(rest.any(axis=1))


def _keys(things: Sequence[Thing], which: np.ndarray, first: int) -> np.ndarray:
    """A seed for each drop that depends on the object's name and the drop alone."""
    drop = (first + np.arange(len(which))) % DROPS
    return np.array([draws.forked(np.array([k]), things[i].name, 0)[0] for i, k in zip(which, drop, strict=True)])


def _fallen(
    things: Sequence[Thing], table: Table, which: np.ndarray, keys: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights (n,), quaternions (n, 4) and whether they lie still (n,) of objects that were dropped turned anyhow."""
    spec = table_scene((_HALF, _HALF, 0.02), timestep=TIMESTEP, grasps=True)
    add_slots(spec, things)
    sim = BatchSim(spec.compile(), len(which), threads=threads)
    every = np.arange(len(which))
    Slots(sim, table).take(every, which)
    quat = draws.normal(keys, "turn", 4)
    reach = (np.linalg.norm(table["geom_pos"], axis=2) + table["geom_rbound"]).max(axis=1)
    qpos, qvel = sim.view("qpos"), sim.view("qvel")
    qpos[:, :3] = 0.0
    qpos[:, 2] = reach[which] + 0.005
    qpos[:, 3:] = quat / np.linalg.norm(quat, axis=1, keepdims=True)
    sim.forward()
    sim.step(_FALL)
    before = qpos.copy()
    for _ in range(_MORE):
        qvel *= 0.8  # what rolls would roll for long
        before = qpos.copy()
        sim.step(_CALM)
    calm = np.abs(qpos - before).max(axis=1) < _STILL * _CALM * TIMESTEP
    rest = calm & (np.abs(qvel).max(axis=1) < _STILL) & (np.abs(qpos[:, :2]) < _HALF - 0.05).all(axis=1)
    found = qpos[:, 2].copy(), qpos[:, 3:].copy(), rest & (qpos[:, 2] > 0)
    sim.close()
    return found
