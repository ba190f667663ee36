"""The scene of PickLift on Bullet: the bodies, cameras and control of ``tasks.pick_lift_scene``, other contacts."""

from __future__ import annotations

import numpy as np
from embodkd.envs.bullet.arm import BulletArm
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.robot import TIMESTEP
from embodkd.envs.bullet.scene import KINDS
from embodkd.envs.bullet.world import BulletWorld
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.tasks.pick_lift_scene import OBJECTS, OVERVIEW, STEP, SUBSTEPS, cameras, scene, things

_KINDS = np.array([KINDS.index(name) for name in OBJECTS])


class BulletPickWorld(BulletWorld):
    """``PickWorld`` on Bullet."""

    robot: BulletArm

    def __init__(self, num_envs: int, *, threads: int, image_size: int, randomise: Randomise) -> None:
        del threads  # Bullet steps one copy after the other
        spec, _ = scene()
        sim = BulletSim(BulletArm.bodies(spec.compile()), num_envs, timestep=TIMESTEP)
        eyes = cameras(image_size)
        super().__init__(sim, BulletArm(sim, STEP), eyes, OVERVIEW, substeps=SUBSTEPS, randomise=randomise)
        self._object = sim.body("object")

    def place(
        self,
        ids: np.ndarray,
        seeds: np.ndarray,
        *,
        tool: np.ndarray,
        tool_yaw: np.ndarray,
        kind: np.ndarray,
        scale: np.ndarray,
        mass: np.ndarray,
        spot: np.ndarray,
        yaw: np.ndarray,
    ) -> np.ndarray:
        """Start episodes; arguments and result are those of ``PickWorld.place``."""
        self.start(ids, seeds)
        sim, thing = self.sim, things(kind, scale, mass, spot, yaw)
        sim.kind_NG[ids, -1], sim.size_NG3[ids, -1] = _KINDS[kind], thing.size
        # factors, because randomisation has already drawn its own
        sim.mass_NB[ids, self._object] *= thing.mass
        sim.inertia_NB3[ids, self._object] *= thing.inertia
        sim.position_NB3[ids, self._object], sim.quat_NB4[ids, self._object] = thing.position, thing.quat
        upright = np.zeros((len(ids), 3))
        upright[:, 2] = tool_yaw
        self.robot.place(ids, tool, upright)
        self.settle(ids)
        return thing.rest

    @property
    def object_position(self) -> np.ndarray:
        """Centre of the object in the world, (N, 3)."""
        return self.sim.position_NB3[:, self._object]

    @property
    def object_rotation(self) -> np.ndarray:
        """Rotation of the object, (N, 3, 3); the axis of a cylinder or capsule is the third column."""
        return self.sim.rotation_NB33[:, self._object]

    @property
    def object_velocity(self) -> np.ndarray:
        """Linear velocity of the object in the world, (N, 3)."""
        return self.sim.velocity_NB6[:, self._object, :3]
