"""The scene of Grasp in MuJoCo: the hand's table, a body that is another object in each copy, a mark at the target."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
from embodkd.envs.camera import Camera
from embodkd.envs.diverged import SimulationDiverged
from embodkd.envs.randomise import Randomise
from embodkd.envs.tasks.grasp.cloud import GROUP, Cloud
from embodkd.envs.tasks.grasp.extents import Extents
from embodkd.envs.tasks.grasp.library import Library
from embodkd.envs.tasks.grasp.slots import Slots, add_slots
from embodkd.envs.tasks.hand_scene import OBJECT, HandScene, cameras, hand_table

TARGET = "target"
_MARKS = 3  # the geom group of what only people see
_ON_TABLE = "on_table"


def eyes(image_size: int) -> list[Camera]:
    """The hand's own cameras, and one beside the table for what the hand hides from the front."""
    side = Camera("side", "", (0.04, 0.36, 0.26), (0.04, 0.0, 0.06), 0.15, 0.7, fovy=50, size=image_size)
    wrist, front = cameras(image_size)
    front = replace(front, position=(0.42, 0.0, 0.26), target=side.target, far=side.far, fovy=side.fovy)
    return [replace(eye, hidden_groups=(_MARKS,)) for eye in (wrist, front, side)]


class GraspWorld(HandScene):
    """The scene on the batched simulator.

    ``slots`` switches objects.  Copies that diverge in a step are in ``diverged`` until the next one; all others have
    made it.
    """

    def __init__(self, num_envs: int, *, threads: int, image_size: int, randomise: Randomise, library: Library) -> None:
        spec = hand_table()
        add_slots(spec, library.things)
        mark = spec.worldbody.add_body(name=TARGET, mocap=True, pos=[0, 0, 0.15])
        mark.add_geom(
            name=TARGET,
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[0.008, 0, 0],
            contype=0,
            conaffinity=0,
            group=_MARKS,
            rgba=[0.2, 0.65, 0.3, 1],
        )
        _table_sensor(spec)
        super().__init__(spec, eyes(image_size), num_envs, threads=threads, randomise=randomise)
        self.slots = Slots(self.sim, library.table)
        self._extents = Extents(library.things, library.table)
        self.diverged: list[int] = []
        self._on_table = self.sim.model.sensor(_ON_TABLE).adr[0]
        self.cloud = Cloud([self.cameras["front"], self.cameras["side"]], self.robot)
        groups = [group for group in self.camera_groups if group.name != GROUP.name]
        self._looks = {group: self._looks[group] for group in groups} | {GROUP: self.cloud}
        self.camera_groups = list(self._looks)

    @property
    def on_table(self) -> np.ndarray:
        """Whether the object touches the table, (N,) of 0 and 1."""
        return (self.sim.view("sensordata")[:, self._on_table] > 0).astype(float)

    def reach(self, axes_N33: np.ndarray) -> np.ndarray:
        """How far each object reaches from its centre along three axes in the world, columns of ``axes_N33``, and then
        against them: (N, 6), m."""
        axes = np.swapaxes(np.concatenate([axes_N33, -axes_N33], axis=2), 1, 2)
        return self._extents.along(self.slots.held_N, axes @ self.rotation(OBJECT))

    def widths(self, towards_ND3: np.ndarray) -> np.ndarray:
        """How wide each object is along unit vectors in the world, m, (N, D)."""
        local = towards_ND3 @ self.rotation(OBJECT)
        return self._extents.along(self.slots.held_N, local) + self._extents.along(self.slots.held_N, -local)

    def _step(self) -> None:
        self.diverged = []
        try:
            super()._step()
        except SimulationDiverged as error:
            self.diverged = error.copies


def _table_sensor(spec: mujoco.MjSpec) -> None:
    """The number of contacts between the object and the table."""
    spec.add_sensor(
        name=_ON_TABLE,
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        objtype=mujoco.mjtObj.mjOBJ_GEOM,
        objname="table",
        reftype=mujoco.mjtObj.mjOBJ_BODY,
        refname=OBJECT,
        intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND), 0, 1],
    )
