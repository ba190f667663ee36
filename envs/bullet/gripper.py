"""The floating gripper on Bullet: the same six impedances as the MuJoCo one, written out as forces."""

from __future__ import annotations

import numpy as np
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.robot import TIMESTEP, BulletRobot
from embodkd.envs.bullet.scene import Body, Shape
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply, rotate, rotvec_from_quat, unrotate
from embodkd.envs.sim.robots.gripper import INERTIA, LIMIT, MASS, STEP, STIFFNESS

_GREY = (0.25, 0.27, 0.3)
_DAMPING = 2 * np.sqrt(np.array(STIFFNESS) * [MASS, INERTIA])
_HELD = np.array([MASS, INERTIA]) + TIMESTEP * _DAMPING  # kg, kg m^2; see ``BulletRobot``


class BulletGripper(BulletRobot):
    """Commands are "current pose plus delta" in the tool's frame; the twist's angular part is in that frame too."""

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
        self.sim.quat_NB4[ids, self._body] = quat_from_rotvec(rotvec_n3)
        self.sim.velocity_NB6[ids, self._body] = 0.0
        self._target_N6[ids] = np.concatenate([position_n3, rotvec_n3], axis=1)
        self._force_N6[ids] = 0.0

    def command(self, actions: np.ndarray) -> None:
        """Target = current pose + delta; deltas up to 1 cm and 0.05 rad per action, in the tool's frame."""
        shift = rotate(self.rotation, STEP[0] * actions[:, :3].astype(float))
        turned = quat_multiply(
            self.sim.quat_NB4[:, self._body], quat_from_rotvec(STEP[1] * actions[:, 3:6].astype(float))
        )
        self._target_N6[:] = np.concatenate([self.position + shift, rotvec_from_quat(turned)], axis=1)

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
    def rotvec(self) -> np.ndarray:
        """Tool rotation as rotation vector, (N, 3)."""
        return rotvec_from_quat(self.sim.quat_NB4[:, self._body])

    @property
    def twist(self) -> np.ndarray:
        """Linear velocity in the world and angular velocity in the tool's frame, (N, 6)."""
        velocity = self.sim.velocity_NB6[:, self._body]
        return np.concatenate([velocity[:, :3], unrotate(self.rotation, velocity[:, 3:])], axis=1)
