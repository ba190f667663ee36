"""The Panda on Bullet: the body that MuJoCo compiles, moved by the same control law, written out as joint torques."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.robot import TIMESTEP, BulletRobot
from embodkd.envs.bullet.scene import Body, bodies_of, heavier
from embodkd.envs.geometry import quat_from_rotvec, rotate, unrotate
from embodkd.envs.sim.robots.fingers import FINGER_DAMPING, GRIP, OPEN, squeeze
from embodkd.envs.sim.robots.panda_control import DAMPING, LIMIT, STIFFNESS, reach, target
from embodkd.envs.sim.robots.panda_model import HOME, LINKS, POSTURE

_TORQUE_7 = np.array([link.torque for link in LINKS])
_COUPLING = (1000.0, 10.0)  # N/m, N s/m between the fingers, about as soft as the other engine's constraint
_FINGERS = ("finger-1", "finger1")


class BulletArm(BulletRobot):
    """``PandaArm`` with fingers, held upright: three translations, the turn about the vertical, closed to open."""

    action_size = 5
    keeps = BulletRobot.keeps | {"goal": "_goal_N2"}

    @staticmethod
    def bodies(model: mujoco.MjModel) -> list[Body]:
        """The bodies of a model with a Panda in it, heavier by what ``BulletRobot`` says."""
        bodies = {body.name: body for body in bodies_of(model)}
        for name in _FINGERS:
            bodies[name] = heavier(bodies[name], TIMESTEP * GRIP[1], np.zeros((3, 3)))
        # the fingers are at the tool point: what their rotors and servos add already serves the tool's impedance
        carried = sum(bodies[name].mass - float(model.body(name).mass[0]) for name in _FINGERS)
        turning = TIMESTEP * DAMPING[1] * np.eye(3)
        bodies["tool"] = heavier(bodies["tool"], TIMESTEP * DAMPING[0] - carried, turning)
        return list(bodies.values())

    def __init__(self, sim: BulletSim, step: tuple[float, float]) -> None:
        super().__init__(sim, 8, STIFFNESS, DAMPING, LIMIT)  # gains of the fingers first, as in the other engine
        self._step, self._tool = step, sim.body("tool")
        joints = [body.name for body in sim.bodies if body.joint is not None and body.joint.axis is not None]
        self._arm, self._hand = slice(0, len(LINKS)), [joints.index(name) for name in _FINGERS]
        self._goal_N2 = np.zeros((sim.num_envs, 2))

    def place(self, ids: np.ndarray, position_n3: np.ndarray, rotvec_n3: np.ndarray) -> None:
        """Start copies at rest with the tool at these poses, fingers open, controller at equilibrium (rows only)."""
        sim = self.sim
        sim.joint_NJ[ids[:, None], self._hand] = OPEN

        def kinematics(joints_n7: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            sim.joint_NJ[ids, self._arm] = joints_n7
            sim.derive()
            return self.position[ids], self.rotation[ids], sim.jacobian(self._tool)[ids, :, self._arm]

        sim.joint_NJ[ids, self._arm] = reach(kinematics, position_n3, rotvec_n3)
        sim.speed_NJ[ids] = 0.0
        self.aim(ids, position_n3, quat_from_rotvec(rotvec_n3))
        self._goal_N2[ids], self._force_N6[ids] = OPEN, 0.0

    def command(self, actions: np.ndarray) -> None:
        """Target = current pose + delta in the tool's frame, with deltas up to ``step``; fingers as the class says."""
        actions = actions.astype(float)
        self.aim(slice(None), *target(self.position, self.rotation, actions, self._step, upright=True))
        self._goal_N2[:] = 0.5 * OPEN * (1.0 + actions[:, 4:])

    def drive(self) -> None:
        """Joint torques of impedance, posture springs and finger servos for the next substep."""
        sim = self.sim
        jacobian_N67 = sim.jacobian(self._tool)[:, :, self._arm]
        joint_N7, speed_N7 = sim.joint_NJ[:, self._arm], sim.speed_NJ[:, self._arm]
        self._pull(rotate(jacobian_N67, speed_N7), self._gain[:, 2:])
        torque = np.clip(rotate(np.swapaxes(jacobian_N67, 1, 2), self._force_N6), -_TORQUE_7, _TORQUE_7)
        sim.torque_NJ[:, self._arm] = torque - POSTURE[0] * (joint_N7 - HOME) - POSTURE[1] * speed_N7
        fingers, speed = self.fingers, sim.speed_NJ[:, self._hand]
        servo = np.clip(self._gain[:, :2] * -squeeze(fingers, speed, self._goal_N2), -GRIP[2], GRIP[2])
        apart = _COUPLING[0] * (fingers - fingers[:, ::-1]) + _COUPLING[1] * (speed - speed[:, ::-1])
        sim.torque_NJ[:, self._hand] = servo - FINGER_DAMPING * speed - apart

    @property
    def position(self) -> np.ndarray:
        """Tool position, (N, 3)."""
        return self.sim.place_NB3[:, self._tool]

    @property
    def rotation(self) -> np.ndarray:
        """Tool rotation, (N, 3, 3)."""
        return self.sim.rotation_NB33[:, self._tool]

    @property
    def twist(self) -> np.ndarray:
        """See ``Tool``."""
        moves = rotate(self.sim.jacobian(self._tool), self.sim.speed_NJ)
        return np.concatenate([moves[:, :3], unrotate(self.rotation, moves[:, 3:])], axis=1)

    @property
    def fingers(self) -> np.ndarray:
        """How far each finger is open, 0 to ``OPEN`` m, (N, 2)."""
        return self.sim.joint_NJ[:, self._hand]

    @property
    def squeeze(self) -> np.ndarray:
        """Closing force (N) of each finger's servo as its position, speed and command give it, (N, 2)."""
        return squeeze(self.fingers, self.sim.speed_NJ[:, self._hand], self._goal_N2)
