"""One body that can be any object: six geoms and the body's mass are parameters of each copy."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from embodkd.envs.geometry import quat_from_rotvec
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.tasks.grasp.solids import SLOTS, Thing
from embodkd.envs.tasks.grasp.table import BODY_FIELDS, GEOM_FIELDS, TOUCH_FIELDS, Table, add_hulls
from embodkd.envs.tasks.hand_scene import OBJECT

FRICTION = (1.0, 0.005, 0.001)
COLOUR = (0.86, 0.45, 0.16, 1.0)


def add_slots(spec: mujoco.MjSpec, things: Sequence[Thing]) -> mujoco.MjsBody:
    """A loose body with empty slots, in a model that knows the meshes of all ``things``.

    Frames and inertia are of no special kind: where some are equal or zero at compilation, MuJoCo takes short cuts that
    hold for one object only.  The body's bounding volumes are of one object too, so the mid-phase is off.
    """
    add_hulls(spec, things)
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    body = spec.worldbody.add_body(name=OBJECT, pos=[0, 0, 0.1])
    body.add_freejoint(name=OBJECT)
    body.explicitinertial, body.mass = True, 1.0
    body.ipos, body.inertia, body.iquat = [0, 0, 0], [1.0, 1.1, 1.2], _tilted(SLOTS)
    for k in range(SLOTS):
        body.add_geom(
            name=f"{OBJECT}{k}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[0.01 + 0.001 * k, 0.012, 0.014],
            pos=[0.001 * (k + 1), 0.002, 0.003],
            quat=_tilted(k),
            friction=FRICTION,
            condim=6,
            rgba=COLOUR,
        )
    return body


def _tilted(k: int) -> np.ndarray:
    return quat_from_rotvec(np.array([[0.1 * (k + 1), 0.2, 0.3]]))[0]


class Slots:
    """Switches the objects of copies of a model that ``add_slots`` made; ``held_N`` is each one's row of ``table``."""

    def __init__(self, sim: BatchSim, table: Table) -> None:
        self.sim, self.table = sim, table
        model = sim.model
        self._body = model.body(OBJECT).id
        self.held_N = np.zeros(sim.num_envs, np.int64)
        self.geoms = np.array([model.geom(f"{OBJECT}{k}").id for k in range(SLOTS)])
        self._own = {field: getattr(model, field)[self._body].copy() for field in ("body_mass", "body_inertia")}
        for field in (*GEOM_FIELDS, *TOUCH_FIELDS, *BODY_FIELDS):
            sim.parameter(field)

    def take(self, ids: np.ndarray, which: np.ndarray) -> None:
        """Give the copies ``ids`` the objects ``which`` (n,): after their parameters were restored, before poses are
        written.  What randomisation has made of mass and inertia stays a factor of them."""
        sim, table = self.sim, self.table
        self.held_N[ids] = which
        for field in (*GEOM_FIELDS, *TOUCH_FIELDS):
            sim.parameter(field)[ids[:, None], self.geoms] = table[field][which]
        for field, own in self._own.items():
            values = sim.parameter(field)
            values[ids, self._body] = values[ids, self._body] / own * table[field][which]
        sim.parameter("body_iquat")[ids, self._body] = table["body_iquat"][which]
        # centres of mass and inverse weights follow from them; without this a free body falls about a wrong point
        sim.constants(ids)
