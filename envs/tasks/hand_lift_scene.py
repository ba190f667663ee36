"""The scene of HandLift in MuJoCo: table, one loose object, floating Shadow hand."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.geometry import matrix_from_quat
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.distances import distance
from embodkd.envs.tasks.hand_scene import OBJECT, HandScene, cameras, hand_table

MASS = 0.1  # kg
_MARGIN = 0.002  # m, about the gap between the places that are tried before the near plane
_GEOM = mujoco.mjtGeom
# shape, MuJoCo's size (m), height of the centre at rest (m)
OBJECTS: dict[str, tuple[mujoco.mjtGeom, tuple[float, float, float], float]] = {
    "box": (_GEOM.mjGEOM_BOX, (0.025, 0.025, 0.03), 0.03),
    "cylinder": (_GEOM.mjGEOM_CYLINDER, (0.027, 0.033, 0.0), 0.033),
    "sphere": (_GEOM.mjGEOM_SPHERE, (0.032, 0.0, 0.0), 0.032),
}


class HandWorld(HandScene):
    """The hand's scene with one primitive object."""

    def __init__(self, num_envs: int, *, threads: int, image_size: int, randomise: Randomise, shape: str) -> None:
        spec = hand_table()
        kind, size, self.rest_height = OBJECTS[shape]
        self._kind, self._size = kind, np.array(size)
        thing = spec.worldbody.add_body(name=OBJECT, pos=[0, 0, self.rest_height])
        thing.add_freejoint(name=OBJECT)
        # rolling friction only matters to, and is only paid for by, what can roll
        thing.add_geom(
            name=OBJECT,
            type=kind,
            size=size,
            mass=MASS,
            friction=[1.0, 0.005, 0.001],
            condim=6 if shape == "sphere" else 4,
            rgba=[0.86, 0.45, 0.16, 1],
        )
        super().__init__(spec, cameras(image_size), num_envs, threads=threads, randomise=randomise)

    @property
    def clearance(self) -> np.ndarray:
        """Height of the object's lowest point above the table, (N,): tilting or rolling does not raise it."""
        up = matrix_from_quat(self.object_quat)[:, 2]
        if self._kind == _GEOM.mjGEOM_BOX:
            reach = np.abs(up) @ self._size
        elif self._kind == _GEOM.mjGEOM_CYLINDER:
            across = np.sqrt(np.maximum(1 - up[:, 2] ** 2, 0))
            reach = self._size[0] * across + self._size[1] * np.abs(up[:, 2])
        else:
            reach = self._size[0]
        return self.position(OBJECT)[:, 2] - reach

    def blinded(self, ids: np.ndarray) -> np.ndarray:
        """Where some of the object is seen nearer than the near plane of the wrist's camera, or from inside, (n,)."""
        eye = self.cameras["wrist"]
        place, turn = eye.pose(ids)
        rays = eye.camera.near * eye.camera.directions(12, 12)
        tried = np.concatenate([share * rays for share in (0.0, 0.4, 0.6, 0.8, 1.0)])
        seen = place[:, None] + tried @ np.swapaxes(turn, 1, 2) - self.position(OBJECT)[ids, None]
        away = distance(self._kind, self._size, seen @ self.rotation(OBJECT)[ids])
        return np.asarray((away < _MARGIN).any(axis=1))
