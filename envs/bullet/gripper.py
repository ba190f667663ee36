"""The floating gripper on Bullet: the same six impedances as the MuJoCo one, written out as forces."""

from __future__ import annotations

import numpy as np
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.robot import TIMESTEP, BulletRobot
from embodkd.envs.bullet.scene import Body, Shape
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply, rotate, unrotate
from embodkd.envs.sim.robots.gripper import INERTIA, LIMIT, MASS, STEP, STIFFNESS

_GREY = (0.25, 0.27, 0.3)
_DAMPING = 2 * np.sqrt(np.array(STIFFNESS) * [MASS, INERTIA])
_HELD = np.array([MASS, INERTIA]) + TIMESTEP * _DAMPING  # kg, kg m^2; see ``BulletRobot``


class BulletGripper(BulletRobot):
    """Commands are "current pose plus delta" in the tool's frame."""

    @staticmethod
    def body(held: tuple[Shape, ...], friction: float) -> Body:
        """Palm, fingers and whatever they hold."""
        palm = Shape("palm", (0, 0, 0.078), (0.012, 0.03, 0.012), _GREY)
        fingers = [Shape(f"finger{side}", (0, side * 0.012, 0.053), (0.006, 0.0038, 0.013), _GREY) for side in (-1, 1)]
        return Body("gripper", (palm, *fingers, *held), _HELD[0], (_HELD[1],) * 3, friction, weightless=True)

    def __init__(self, sim: BulletSim) -> None:
        super().__init__(sim, 6, STIFFNESS, _DAMPING, LIMIT)
        self._body = sim.body("gripper")

    def place(self, ids: np.ndarray, position_n3: np.ndarray, rotvec_n3: np.ndarray) -> None:
        """Start copies at rest with the tool at these poses and the controller at equilibrium (rows only)."""
        self.sim.position_NB3[ids, self._body] = position_n3
        quat = quat_from_rotvec(rotvec_n3)
        self.sim.quat_NB4[ids, self._body] = quat
        self.sim.velocity_NB6[ids, self._body] = 0.0
        self.aim(ids, position_n3, quat)
        self._force_N6[ids] = 0.0

    def command(self, actions: np.ndarray) -> None:
        """Target = current pose + delta; deltas up to 1 cm and 0.05 rad per action, in the tool's frame."""
        actions = actions.astype(float)
        moved = self.position + rotate(self.rotation, STEP[0] * actions[:, :3])
        self.aim(slice(None), moved, quat_multiply(self.quat, quat_from_rotvec(STEP[1] * actions[:, 3:6])))

    def drive(self) -> None:
        """Let the impedances act during the next substep."""
        self._pull(self.sim.velocity_NB6[:, self._body], self._gain)
        self.sim.wrench_NB6[:, self._body] = self._force_N6

    @property
    def position(self) -> np.ndarray:
        """Tool position, (N, 3)."""
        return self.sim.position_NB3[:, self._body]

    @property
    def rotation(self) -> np.ndarray:
        """Tool rotation, (N, 3, 3)."""
        return self.sim.rotation_NB33[:, self._body]

    @property
    def quat(self) -> np.ndarray:
        """Tool rotation as unit quaternion (w, x, y, z), (N, 4)."""
        return self.sim.quat_NB4[:, self._body]

    @property
    def twist(self) -> np.ndarray:
        """See ``Tool``."""
        velocity = self.sim.velocity_NB6[:, self._body]
        return np.concatenate([velocity[:, :3], unrotate(self.rotation, velocity[:, 3:])], axis=1)
