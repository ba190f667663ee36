"""Cameras of the batched simulator, by MuJoCo's own rays."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.camera import Camera, RayCamera
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.sight import Sight


class SimCamera(RayCamera):
    """One ``Camera`` on a ``BatchSim``."""

    def __init__(self, sim: BatchSim, camera: Camera, randomise: Randomise) -> None:
        super().__init__(camera, _geom_colours(sim.model), sim.num_envs, randomise)
        self.sim = sim
        self._body = sim.model.body(camera.body or "world").id
        groups = np.ones(mujoco.mjNGROUP, np.uint8)
        groups[list(camera.hidden_groups)] = 0
        self._sight = Sight(sim.model, groups, float(np.tan(np.radians(camera.fovy) / 2)))

    def body_pose(self, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """See ``RayCamera``."""
        chosen = slice(None) if ids is None else ids
        rotation = self.sim.view("xmat")[chosen, self._body].reshape(-1, 3, 3)
        return self.sim.view("xpos")[chosen, self._body], rotation

    def hits(
        self, origin: np.ndarray, rotation: np.ndarray, vector: np.ndarray, ids: np.ndarray | None, *, normals: bool
    ) -> tuple[np.ndarray, ...]:
        """See ``RayCamera``."""
        chosen = slice(None) if ids is None else ids
        xpos, xmat = self.sim.view("xpos")[chosen], self.sim.view("xmat")[chosen]
        groups = self._sight.groups(origin, rotation, xpos, xmat, self.sim.parameters)
        hits = self.sim.ray(origin[:, None], vector, groups=groups, ids=ids, normals=normals)
        return hits if normals else (*hits, np.empty(0))


def _geom_colours(model: mujoco.MjModel) -> np.ndarray:
    """RGB of each geom: its material's where it has one."""
    colours = model.geom_rgba[:, :3].astype(float).copy()
    with_material = model.geom_matid >= 0
    colours[with_material] = model.mat_rgba[model.geom_matid[with_material], :3]
    return colours
