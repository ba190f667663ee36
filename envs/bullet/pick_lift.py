"""The scene of PickLift on Bullet: the bodies, cameras and control of ``tasks.pick_lift_scene``, other contacts."""

from __future__ import annotations

import numpy as np
from embodkd.envs.bullet.arm import BulletArm
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.robot import TIMESTEP
from embodkd.envs.bullet.scene import KINDS
from embodkd.envs.bullet.world import BulletWorld
from embodkd.envs.randomise import Randomise
from embodkd.envs.tasks.pick_lift_scene import OBJECTS, OVERVIEW, STEP, SUBSTEPS, Things, cameras, scene

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

    def shape(self, ids: np.ndarray, kind: np.ndarray, thing: Things) -> None:
        """See ``PickWorld.shape``."""
        sim, row = self.sim, self.sim.body("object")
        sim.kind_NG[ids, -1], sim.size_NG3[ids, -1] = _KINDS[kind], thing.size
        # factors, because randomisation has already drawn its own
        sim.mass_NB[ids, row] *= thing.mass
        sim.inertia_NB3[ids, row] *= thing.inertia
