"""What scenes of the floating Shadow hand share: table, light, hand, cameras, and what is felt of one loose object."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from embodkd.envs.camera import Camera, Kind
from embodkd.envs.geometry import rotate
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.robots.hand import FINGERS, PALM_BODY, ROOTS, ShadowHand
from embodkd.envs.sim.table import table_scene
from embodkd.envs.sim.world import SimWorld

SUBSTEPS = 8  # of 5 ms
TIMESTEP = 0.005
OBJECT = "object"  # the body that is grasped
OVERVIEW = Camera("overview", "", (0.72, -0.62, 0.42), (0.06, 0.06, 0.2), 0.1, 2.0, fovy=45)


def hand_table() -> mujoco.MjSpec:
    """A scene with a table and a light, for an object and then for ``HandScene`` to complete."""
    spec = table_scene((0.4, 0.4, 0.02), timestep=TIMESTEP, grasps=True)
    spec.worldbody.add_light(
        name="sun", pos=[0.3, -0.4, 1.5], dir=[-0.3, 0.4, -1.5], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    )
    return spec


def cameras(image_size: int) -> list[Camera]:
    """A camera under the wrist, looking at what the fingers close on, and one in front of the table."""
    under, front = (-0.1, -0.04, -0.03), (0.34, 0.0, 0.2)
    near: tuple[Kind, ...] = ("depth", "segmentation")
    far: tuple[Kind, ...] = ("depth",)
    return [
        Camera("wrist", ShadowHand.base, under, (0.04, 0.0, -0.06), 0.04, 0.3, fovy=60, size=image_size, shapes=near),
        Camera("front", "", front, (0.03, 0.0, 0.05), 0.15, 0.6, fovy=45, size=image_size, shapes=far),
    ]


class HandScene(SimWorld):
    """The scene on the batched simulator; arrays are (N, ...), metres and radians in the world's frame."""

    robot: ShadowHand

    def __init__(
        self, spec: mujoco.MjSpec, eyes: Sequence[Camera], num_envs: int, *, threads: int, randomise: Randomise
    ) -> None:
        """``spec`` is a ``hand_table`` with a loose body ``OBJECT``."""
        hand = ShadowHand()
        hand.build(spec)
        spec.body(PALM_BODY).add_site(name="palm", pos=[0.013, -0.046, 0.1], quat=[0.5, -0.5, -0.5, -0.5])
        for name in FINGERS:
            _contact_sensor(spec, f"on_{name}", mujoco.mjtObj.mjOBJ_XBODY, ROOTS[name])
        _contact_sensor(spec, "on_palm", mujoco.mjtObj.mjOBJ_BODY, PALM_BODY)
        super().__init__(spec, hand, eyes, OVERVIEW, num_envs, threads=threads, substeps=SUBSTEPS, randomise=randomise)
        model = self.sim.model
        self._qpos, self._qvel = self.loose(OBJECT)
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
    def object_quat(self) -> np.ndarray:
        """The object's rotation, unit quaternion (N, 4)."""
        return self.sim.view("qpos")[:, self._qpos][:, 3:]

    @property
    def object_twist(self) -> np.ndarray:
        """Linear and angular velocity of the object along the world's axes, (N, 6)."""
        twist = self.sim.view("qvel")[:, self._qvel]
        # a free joint turns along its body's own axes
        return np.concatenate([twist[:, :3], rotate(self.rotation(OBJECT), twist[:, 3:])], axis=1)


def _contact_sensor(spec: mujoco.MjSpec, name: str, kind: mujoco.mjtObj, body: str) -> None:
    """The number of contacts between a body (XBODY: with all that hangs on it) and the object."""
    found, unreduced, count = 1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND), 0, 1
    spec.add_sensor(
        name=name,
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        objtype=kind,
        objname=body,
        reftype=mujoco.mjtObj.mjOBJ_BODY,
        refname=OBJECT,
        intprm=[found, unreduced, count],
    )
