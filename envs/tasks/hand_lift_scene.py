"""The scene of HandLift in MuJoCo: table, one loose object, floating Shadow hand."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.camera import Camera, Kind
from embodkd.envs.geometry import matrix_from_quat, rotate
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.robots.hand import FINGERS, PALM_BODY, ROOTS, ShadowHand
from embodkd.envs.sim.table import table_scene
from embodkd.envs.sim.world import SimWorld

SUBSTEPS = 8  # of 5 ms
TIMESTEP = 0.005
MASS = 0.1  # kg
_MARGIN = 0.002  # m, about the gap between the places that are tried before the near plane
_GEOM = mujoco.mjtGeom
# shape, MuJoCo's size (m), height of the centre at rest (m)
OBJECTS: dict[str, tuple[mujoco.mjtGeom, tuple[float, float, float], float]] = {
    "box": (_GEOM.mjGEOM_BOX, (0.025, 0.025, 0.03), 0.03),
    "cylinder": (_GEOM.mjGEOM_CYLINDER, (0.027, 0.033, 0.0), 0.033),
    "sphere": (_GEOM.mjGEOM_SPHERE, (0.032, 0.0, 0.0), 0.032),
}
OVERVIEW = Camera("overview", "", (0.72, -0.62, 0.42), (0.06, 0.06, 0.2), 0.1, 2.0, fovy=45)


def cameras(hand_body: str, image_size: int) -> list[Camera]:
    """A camera under the wrist, looking at what the fingers close on, and one in front of the table."""
    under, front = (-0.1, -0.04, -0.03), (0.34, 0.0, 0.2)
    near: tuple[Kind, ...] = ("depth", "segmentation")
    far: tuple[Kind, ...] = ("depth",)
    return [
        Camera("wrist", hand_body, under, (0.04, 0.0, -0.06), 0.04, 0.3, fovy=60, size=image_size, shapes=near),
        Camera("front", "", front, (0.03, 0.0, 0.05), 0.15, 0.6, fovy=45, size=image_size, shapes=far),
    ]


class HandWorld(SimWorld):
    """The scene on the batched simulator; arrays are (N, ...), metres and radians in the world's frame."""

    robot: ShadowHand

    def __init__(self, num_envs: int, *, threads: int, image_size: int, randomise: Randomise, shape: str) -> None:
        spec = table_scene((0.4, 0.4, 0.02), timestep=TIMESTEP, grasps=True)
        spec.worldbody.add_light(
            name="sun", pos=[0.3, -0.4, 1.5], dir=[-0.3, 0.4, -1.5], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
        )
        kind, size, self.rest_height = OBJECTS[shape]
        self._kind, self._size = kind, np.array(size)
        thing = spec.worldbody.add_body(name="object", pos=[0, 0, self.rest_height])
        thing.add_freejoint(name="object")
        # rolling friction only matters to, and is only paid for by, what can roll
        thing.add_geom(
            name="object",
            type=kind,
            size=size,
            mass=MASS,
            friction=[1.0, 0.005, 0.001],
            condim=6 if shape == "sphere" else 4,
            rgba=[0.86, 0.45, 0.16, 1],
        )
        hand = ShadowHand()
        base = hand.build(spec)
        spec.body(PALM_BODY).add_site(name="palm", pos=[0.013, -0.046, 0.1], quat=[0.5, -0.5, -0.5, -0.5])
        for name in FINGERS:
            _contact_sensor(spec, f"on_{name}", mujoco.mjtObj.mjOBJ_XBODY, ROOTS[name])
        _contact_sensor(spec, "on_palm", mujoco.mjtObj.mjOBJ_BODY, PALM_BODY)
        eyes = cameras(base.name, image_size)
        super().__init__(spec, hand, eyes, OVERVIEW, num_envs, threads=threads, substeps=SUBSTEPS, randomise=randomise)
        model = self.sim.model
        self._qpos, self._qvel = self.loose("object")
        self._palm = model.site("palm").id
        self._tips = [model.site(f"shadow/robot0:S_{name}tip").id for name in FINGERS]
        self._touch = [model.sensor(f"shadow/robot0:ST_Tch_{name}tip").adr[0] for name in FINGERS]
        self._contacts = [model.sensor(f"on_{name}").adr[0] for name in (*FINGERS, "palm")]
        self.sim.view("sensordata")

    @property
    def palm_position(self) -> np.ndarray:
        """Where a grasped object's middle would be: before the palm at the root of the fingers, (N, 3)."""
        return self.sim.view("site_xpos")[:, self._palm]

    @property
    def palm_rotation(self) -> np.ndarray:
        """Palm rotation, (N, 3, 3): x along the fingers, z out of the back of the hand."""
        return self.sim.view("site_xmat")[:, self._palm].reshape(-1, 3, 3)

    @property
    def tips(self) -> np.ndarray:
        """Fingertips, (N, 5, 3), in the order of ``FINGERS``."""
        return self.sim.view("site_xpos")[:, self._tips]

    @property
    def touch(self) -> np.ndarray:
        """Force on each fingertip's pad, N, (N, 5)."""
        return self.sim.view("sensordata")[:, self._touch]

    @property
    def contacts(self) -> np.ndarray:
        """Whether each finger and the palm (last) touch the object, (N, 6) of 0 and 1."""
        return (self.sim.view("sensordata")[:, self._contacts] > 0).astype(float)

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
        return self.position("object")[:, 2] - reach

    def blinded(self, ids: np.ndarray) -> np.ndarray:
        """Where some of the object is seen nearer than the near plane of the wrist's camera, or from inside, (n,)."""
        eye = self.cameras["wrist"]
        place, turn = eye.pose(ids)
        rays = eye.camera.near * eye.camera.directions(12, 12)
        tried = np.concatenate([share * rays for share in (0.0, 0.4, 0.6, 0.8, 1.0)])
        seen = place[:, None] + tried @ np.swapaxes(turn, 1, 2) - self.position("object")[ids, None]
        away = self._away(seen @ self.rotation("object")[ids])
        return np.asarray((away < _MARGIN).any(axis=1))

    def _away(self, place: np.ndarray) -> np.ndarray:
        """How far places (..., 3) in the object's frame are from its surface, m; negative inside."""
        x, y, z = np.moveaxis(np.abs(place), -1, 0)
        if self._kind == _GEOM.mjGEOM_SPHERE:
            return np.linalg.norm(place, axis=-1) - self._size[0]
        if self._kind == _GEOM.mjGEOM_BOX:
            over = np.stack([x, y, z], axis=-1) - self._size
        else:
            over = np.stack([np.hypot(x, y), z], axis=-1) - self._size[:2]
        return np.linalg.norm(np.maximum(over, 0.0), axis=-1) + np.minimum(over.max(axis=-1), 0.0)

    @property
    def object_quat(self) -> np.ndarray:
        """The object's rotation, unit quaternion (N, 4)."""
        return self.sim.view("qpos")[:, self._qpos][:, 3:]

    @property
    def object_twist(self) -> np.ndarray:
        """Linear and angular velocity of the object along the world's axes, (N, 6)."""
        twist = self.sim.view("qvel")[:, self._qvel]
        # a free joint turns along its body's own axes
        return np.concatenate([twist[:, :3], rotate(self.rotation("object"), twist[:, 3:])], axis=1)


def _contact_sensor(spec: mujoco.MjSpec, name: str, kind: mujoco.mjtObj, body: str) -> None:
    """The number of contacts between a body (XBODY: with all that hangs on it) and the object."""
    found, unreduced, count = 1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND), 0, 1
    spec.add_sensor(
        name=name,
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        objtype=kind,
        objname=body,
        reftype=mujoco.mjtObj.mjOBJ_BODY,
        refname="object",
        intprm=[found, unreduced, count],
    )
