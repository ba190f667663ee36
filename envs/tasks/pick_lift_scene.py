"""The scene of PickLift in MuJoCo: a Panda over a table with one primitive object, another in each episode."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from embodkd.envs.camera import Camera
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply, rotvec_about_z
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.robots.panda import PandaArm
from embodkd.envs.sim.table import table_scene
from embodkd.envs.sim.world import SimWorld

SUBSTEPS = 12  # of 4 ms
OBJECTS = ("box", "cylinder", "capsule", "sphere")
STEP = (0.02, 0.1)  # m, rad: the largest deltas of one action
_NOMINAL_MASS = 0.1  # kg
_BOUND = 0.06  # m, no object reaches further from its own centre along an axis
_GEOM_TYPES = np.array(
    [
        mujoco.mjtGeom.mjGEOM_BOX,
        mujoco.mjtGeom.mjGEOM_CYLINDER,
        mujoco.mjtGeom.mjGEOM_CAPSULE,
        mujoco.mjtGeom.mjGEOM_SPHERE,
    ],
    int,
)
# smallest and largest MuJoCo sizes: half-lengths, radius and half-height, radius and half-length, radius (m)
_SIZES = np.array(
    [
        [[0.014, 0.014, 0.018], [0.030, 0.022, 0.030]],
        [[0.016, 0.020, 0.0], [0.028, 0.035, 0.0]],
        [[0.016, 0.015, 0.0], [0.024, 0.030, 0.0]],
        [[0.020, 0.0, 0.0], [0.030, 0.0, 0.0]],
    ]
)
OVERVIEW = Camera("overview", "", (0.55, -0.55, 0.5), (-0.12, 0.0, 0.14), 0.1, 2.0, fovy=50)


def cameras(image_size: int) -> list[Camera]:
    """A camera on the hand, looking down between the fingers, and one across the table."""
    return [
        # the hand's camera cannot see the arm behind it: rays need not ask about its links
        Camera(
            "wrist",
            "tool",
            (0.075, 0.0, 0.065),
            (0.04, 0.0, -0.02),
            0.04,
            0.30,
            fovy=78,
            size=image_size,
            hidden_groups=(1,),
        ),
        Camera("front", "", (0.42, 0.0, 0.36), (0.0, 0.0, 0.06), 0.25, 0.80, fovy=45, size=image_size),
    ]


def scene() -> tuple[mujoco.MjSpec, PandaArm]:
    """Table, arm and object, not yet compiled."""
    spec = table_scene((0.65, 0.5, 0.01), x=-0.15)
    arm = PandaArm(actions="yaw", grip=True, reach=0.0, step=STEP)
    arm.build(spec)
    thing = spec.worldbody.add_body(name="object", pos=[0, 0, _BOUND])
    thing.add_freejoint(name="object")
    # compiled at its largest, so that every bound that MuJoCo derives from it holds for each episode's own
    thing.add_geom(
        name="object",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[_BOUND] * 3,
        mass=_NOMINAL_MASS,
        rgba=[0.86, 0.45, 0.16, 1],
        condim=6,
        friction=[1.0, 0.02, 0.002],
    )
    return spec, arm


class Things(NamedTuple):
    """Objects as they lie at the start: MuJoCo's sizes (n, 3), centres (n, 3), turns (n, 4); factors of the compiled
    object's mass (n,) and inertia (n, 3), for a solid box of the same extents; height of the centre at rest (n,)."""

    size: np.ndarray
    position: np.ndarray
    quat: np.ndarray
    mass: np.ndarray
    inertia: np.ndarray
    rest: np.ndarray


def things(kind: np.ndarray, scale: np.ndarray, mass: np.ndarray, spot: np.ndarray, yaw: np.ndarray) -> Things:
    """The objects of new episodes.

    ``kind`` (n,) indexes ``OBJECTS``, ``scale`` (n, 3) in [0, 1] goes from the smallest to the largest size, ``mass``
    (n,) is in kg, ``spot`` (n, 2) and ``yaw`` (n,) are the place on the table.  At yaw 0 fingers that close along y
    fit an object.
    """
    size = _SIZES[kind, 0] + scale * (_SIZES[kind, 1] - _SIZES[kind, 0])
    half = half_extents(kind, size)
    ratio = mass / _NOMINAL_MASS
    squares = (half**2).sum(axis=1, keepdims=True) - half**2
    lying = kind == OBJECTS.index("capsule")
    rest = np.where(lying, size[:, 0], half[:, 2])
    tip = np.zeros((len(kind), 3))
    tip[:, 1] = np.where(lying, np.pi / 2, 0.0)
    quat = quat_multiply(quat_from_rotvec(rotvec_about_z(yaw)), quat_from_rotvec(tip))
    position = np.concatenate([spot, rest[:, None]], axis=1)
    return Things(size, position, quat, ratio, ratio[:, None] * squares / (2 * _BOUND**2), rest)


class PickWorld(SimWorld):
    """Table, arm and object; which object, its size and weight are parameters of each copy."""

    robot: PandaArm

    def __init__(self, num_envs: int, *, threads: int, image_size: int, randomise: Randomise) -> None:
        spec, arm = scene()
        super().__init__(
            spec, arm, cameras(image_size), OVERVIEW, num_envs, threads=threads, substeps=SUBSTEPS, randomise=randomise
        )
        self._geom, self._body = self.sim.model.geom("object").id, self.body_ids["object"]
        for name in ("geom_type", "geom_size", "geom_rbound", "body_mass", "body_inertia"):
            self.sim.parameter(name)

    def shape(self, ids: np.ndarray, kind: np.ndarray, thing: Things) -> None:
        """Give copies their episodes' objects, between ``start`` and ``put``."""
        self.sim.parameter("geom_type")[ids, self._geom] = _GEOM_TYPES[kind]
        self.sim.parameter("geom_size")[ids, self._geom] = thing.size
        self.sim.parameter("geom_rbound")[ids, self._geom] = np.linalg.norm(half_extents(kind, thing.size), axis=1)
        # factors, because randomisation has already drawn its own
        self.sim.parameter("body_mass")[ids, self._body] *= thing.mass
        self.sim.parameter("body_inertia")[ids, self._body] *= thing.inertia
        # centres of mass follow from masses: without this the arithmetic of a free body is about a wrong point
        self.sim.constants(ids)

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        super().load_state_dict(arrays)
        self.sim.constants()  # they follow from the loaded masses
        self.sim.forward()


def half_extents(kind: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Half-lengths (n, 3) of each object's bounding box in its own frame."""
    radius, half = size[:, 0], size[:, 1]
    return np.select(
        [kind[:, None] == 0, kind[:, None] == 1, kind[:, None] == 2],
        [size, np.stack([radius, radius, half], 1), np.stack([radius, radius, half + radius], 1)],
        default=np.stack([radius] * 3, 1),
    )
