"""Cameras of the batched simulator: by the shapes of what they show, or by MuJoCo's own rays."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.camera import By, Camera, Kind, RayCamera
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.pictures import Painter
from embodkd.envs.sim.pixels import Grid
from embodkd.envs.sim.sight import Sight


class SimCamera(RayCamera):
    """One ``Camera`` on a ``BatchSim``; ``by`` says how it sees, see ``make_task``."""

    by: By = "auto"

    def __init__(self, sim: BatchSim, camera: Camera, randomise: Randomise) -> None:
        super().__init__(camera, _geom_colours(sim.model), sim.model.geom_bodyid, sim.num_envs, randomise)
        self.sim = sim
        self._body = sim.model.body(camera.body or "world").id
        groups = np.ones(mujoco.mjNGROUP, np.uint8)
        groups[list(camera.hidden_groups)] = 0
        self._pictures = Painter(sim, camera.hidden_groups)
        self._sight = Sight(sim.model, groups, float(np.tan(np.radians(camera.fovy) / 2)))

    def body_pose(self, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """See ``RayCamera``."""
        chosen = slice(None) if ids is None else ids
        rotation = self.sim.view("xmat")[chosen, self._body].reshape(-1, 3, 3)
        return self.sim.view("xpos")[chosen, self._body], rotation

    def places(self, bodies: np.ndarray, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """See ``RayCamera``."""
        chosen = slice(None) if ids is None else ids
        rotation = self.sim.view("xmat")[chosen][:, bodies]
        return self.sim.view("xpos")[chosen][:, bodies], rotation.reshape(*rotation.shape[:2], 3, 3)

    def hits(
        self, origin: np.ndarray, rotation: np.ndarray, vector: np.ndarray, ids: np.ndarray | None, *, normals: bool
    ) -> tuple[np.ndarray, ...]:
        """See ``RayCamera``."""
        chosen = slice(None) if ids is None else ids
        xpos, xmat = self.sim.view("xpos")[chosen], self.sim.view("xmat")[chosen]
        groups = self._sight.groups(origin, rotation, xpos, xmat, self.sim.parameters)
        hits = self.sim.ray(origin[:, None], vector, groups=groups, ids=ids, normals=normals)
        return hits if normals else (*hits, np.empty(0))

    def _depths(self, ids: np.ndarray | None, rows: int, columns: int, dtype: type, kind: Kind) -> np.ndarray:
        if not self._draws(kind):
            return super()._depths(ids, rows, columns, dtype, kind)
        return self._pictures.depth(*self.pose(ids), self._grid(rows, columns, dtype), ids)

    def _named(self, ids: np.ndarray | None, size: int) -> np.ndarray:
        if not self._draws("segmentation"):
            return super()._named(ids, size)
        return self._pictures.ids(*self.pose(ids), self._grid(size, size), ids)

    def _lit(
        self, ids: np.ndarray | None, size: int, light_n3: np.ndarray, *, deep: bool = False
    ) -> tuple[np.ndarray, ...]:
        if not self._draws("rgb"):
            return super()._lit(ids, size, light_n3, deep=deep)
        return self._pictures.lit(*self.pose(ids), self._grid(size, size), ids, light_n3, deep=deep)

    def _draws(self, kind: Kind) -> bool:
        """Whether to draw shapes; ValueError where that is asked for and some cannot be drawn."""
        if self.by == "auto":
            return kind in self.camera.shapes and self._pictures.able()
        if self.by == "shapes" and not self._pictures.able():
            raise ValueError(
                f"camera {self.camera.name}: shapes draw boxes, spheres, capsules, cylinders and endless planes only, "
                "and it shows something else; see by rays (engine.cameras=rays)"
            )
        return self.by == "shapes"

    def _grid(self, rows: int, columns: int, dtype: type = np.float64) -> Grid:
        return Grid(*self.camera.axes(rows, columns), dtype)


def _geom_colours(model: mujoco.MjModel) -> np.ndarray:
    """RGB of each geom: its material's where it has one."""
    colours = model.geom_rgba[:, :3].astype(float).copy()
    with_material = model.geom_matid >= 0
    colours[with_material] = model.mat_rgba[model.geom_matid[with_material], :3]
    return colours
