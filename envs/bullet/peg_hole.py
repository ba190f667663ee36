"""The scene of PegHole on Bullet: the sizes, cameras and control of ``tasks.peg_hole_scene``, other contacts."""

from __future__ import annotations

import numpy as np
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.gripper import BulletGripper
from embodkd.envs.bullet.robot import TIMESTEP
from embodkd.envs.bullet.scene import Body, Shape
from embodkd.envs.bullet.world import BulletWorld
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.table import COLOUR
from embodkd.envs.tasks.peg_hole_scene import (
    OVERVIEW,
    PEG,
    PEG_HALF_WIDTH,
    PEG_LENGTH,
    SOCKET,
    SUBSTEPS,
    cameras,
    socket_walls,
)

# Bullet multiplies the frictions of a pair, MuJoCo takes the larger: with these both have 0.3 between peg and wall
# and 1 between peg and table
_FRICTION = np.sqrt(0.3)
_TABLE_FRICTION = 1.0 / _FRICTION


class BulletPegWorld(BulletWorld):
    """``PegWorld`` on Bullet; the only robot is the floating gripper."""

    def __init__(
        self, num_envs: int, *, threads: int, image_size: int, randomise: Randomise, robot: str, clearance: float
    ) -> None:
        if robot != "gripper":
            raise ValueError(
                f"task peg_hole.robot is {robot!r}, which engine bullet does not have; choose robot=gripper or "
                "engine=mujoco"
            )
        del threads  # Bullet steps one copy after the other
        table = Shape("table", (0, 0, -0.01), (0.3, 0.3, 0.01), COLOUR)
        walls = tuple(
            Shape(f"wall{index}", (x, y, z), (dx, dy, dz), SOCKET)
            for index, ((x, y, z), (dx, dy, dz)) in enumerate(socket_walls(clearance))
        )
        half = PEG_LENGTH / 2
        peg = Shape("peg", (0, 0, half), (PEG_HALF_WIDTH, PEG_HALF_WIDTH, half), PEG)
        bodies = [
            Body("table", (table,), friction=_TABLE_FRICTION),
            Body("socket", walls, friction=_FRICTION),
            BulletGripper.body((peg,), _FRICTION),
        ]
        sim = BulletSim(bodies, num_envs, timestep=TIMESTEP)
        eyes = cameras("gripper", image_size)
        super().__init__(sim, BulletGripper(sim), eyes, OVERVIEW, substeps=SUBSTEPS, randomise=randomise)
