"""The scene of PegHole on Bullet: the sizes, cameras and control of ``tasks.peg_hole_scene``, other contacts."""

from __future__ import annotations

import numpy as np
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.gripper import BulletGripper
from embodkd.envs.bullet.robot import TIMESTEP
from embodkd.envs.bullet.scene import Body, Shape
from embodkd.envs.bullet.world import BulletWorld
from embodkd.envs.geometry import quat_from_rotvec
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.tasks.peg_hole_scene import (
    OVERVIEW,
    PEG_HALF_WIDTH,
    PEG_LENGTH,
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
        self,
        num_envs: int,
        *,
        threads: int,
        robot: str,
        clearance: float,
        image_size: int,
        randomise: Randomise,
    ) -> None:
        if robot != "gripper":
            raise ValueError(
                f"task peg_hole.robot is {robot!r}, which engine bullet does not have; choose robot=gripper or "
                "engine=mujoco"
            )
        del threads  # Bullet steps one copy after the other
        table = Shape("table", (0, 0, -0.01), (0.3, 0.3, 0.01), (0.76, 0.72, 0.66))
        walls = tuple(
            Shape(f"wall{index}", (x, y, z), (dx, dy, dz), (0.2, 0.42, 0.66))
            for index, ((x, y, z), (dx, dy, dz)) in enumerate(socket_walls(clearance))
        )
        half = PEG_LENGTH / 2
        peg = Shape("peg", (0, 0, half), (PEG_HALF_WIDTH, PEG_HALF_WIDTH, half), (0.86, 0.45, 0.16))
        bodies = [
            Body("table", (table,), friction=_TABLE_FRICTION),
            Body("socket", walls, friction=_FRICTION),
            BulletGripper.body((peg,), _FRICTION),
        ]
        sim = BulletSim(bodies, num_envs, timestep=TIMESTEP)
        eyes = cameras("gripper", image_size)
        super().__init__(sim, BulletGripper(sim), eyes, OVERVIEW, substeps=SUBSTEPS, randomise=randomise)
        self._socket = self.sim.body("socket")

    def place(
        self,
        ids: np.ndarray,
        seeds: np.ndarray,
        position: np.ndarray,
        rotvec: np.ndarray,
        socket: np.ndarray,
        yaw: np.ndarray,
    ) -> None:
        """Start episodes: tool pose, socket position (n, 3) and yaw (n,)."""
        self.start(ids, seeds)
        self.sim.position_NB3[ids, self._socket] = socket
        turn = np.zeros_like(socket)
        turn[:, 2] = yaw
        self.sim.quat_NB4[ids, self._socket] = quat_from_rotvec(turn)
        self.robot.place(ids, position, rotvec)
        self.settle(ids)
