"""The scene of an assembly in MuJoCo: table, parts, a robot with fingers, a camera on it and one in front."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply
from embodkd.envs.sim.camera import Camera
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.sim.robots.gripper import FloatingGripper
from embodkd.envs.sim.robots.panda import PandaArm
from embodkd.envs.sim.world import SimWorld
from embodkd.envs.tasks.assembly.parts import Pair, Part, Poses
from embodkd.envs.tasks.assembly.screw import Nut, Screw

TIMESTEP, SUBSTEPS = 0.004, 25  # 10 Hz
STEP = (0.025, 0.35)  # m per axis, rad: how far one action may move the tool
FINGER_DAMPING = 100.0  # N s/m: fingers close at 0.2 m/s; faster ones go deep into a wide part within one step
OVERVIEW = Camera("overview", "", (0.42, -0.36, 0.34), (0.0, 0.0, 0.05), 0.1, 1.5, fovy=45)


def cameras(tool_body: str, image_size: int) -> list[Camera]:
    """A camera on the hand, looking past the fingertips, and one across the table."""
    return [
        Camera("wrist", tool_body, (0.08, 0.0, 0.07), (0.01, 0.0, -0.02), 0.03, 0.3, fovy=70, size=image_size),
        Camera("front", "", (0.4, 0.0, 0.3), (0.0, 0.0, 0.03), 0.2, 0.8, fovy=45, size=image_size),
    ]


class AssemblyWorld(SimWorld):
    """The scene on the batched simulator; parts by their order in ``parts``, nuts by the screws among the
    pairs."""

    robot: FloatingGripper | PandaArm

    def __init__(
        self,
        parts: tuple[Part, ...],
        pairs: tuple[Pair, ...],
        num_envs: int,
        *,
        threads: int,
        robot: str,
        image_size: int,
        randomise: Randomise,
    ) -> None:
        self.parts = parts
        spec = mujoco.MjSpec()
        spec.option.timestep = TIMESTEP
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        # without these a held part creeps through the fingers while it is pushed
        spec.option.cone, spec.option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        box = mujoco.mjtGeom.mjGEOM_BOX
        spec.worldbody.add_geom(
            name="table", type=box, size=[0.65, 0.5, 0.01], pos=[-0.15, 0, -0.01], rgba=[0.76, 0.72, 0.66, 1]
        )
        for part in parts:
            body = spec.worldbody.add_body(name=part.name, mocap=part.fixed)
            if not part.fixed:
                body.add_freejoint(name=part.name)
            part.shape(body)
        screws = [pair for pair in pairs if isinstance(pair, Screw)]
        for screw in screws:
            screw.build(spec)
        arm = _robot(robot)
        holder = arm.build(spec)
        eyes = cameras(holder.name, image_size)
        super().__init__(spec, arm, eyes, OVERVIEW, num_envs, threads=threads, substeps=SUBSTEPS, randomise=randomise)
        self.nuts = {screw: Nut(self.sim, screw) for screw in screws}
        model = self.sim.model
        self._bodies = [model.body(part.name).id for part in parts]
        self._loose = [k for k, part in enumerate(parts) if not part.fixed]
        self._mocap = {k: model.body(part.name).mocapid[0] for k, part in enumerate(parts) if part.fixed}
        self._qpos = {k: int(model.joint(parts[k].name).qposadr[0]) for k in self._loose}
        self._qvel = {k: int(model.joint(parts[k].name).dofadr[0]) for k in self._loose}

    def place(
        self,
        ids: np.ndarray,
        seeds: np.ndarray,
        *,
        tool: np.ndarray,
        tool_rotvec: np.ndarray,
        spots_nP2: np.ndarray,
        yaws_nP: np.ndarray,
    ) -> None:
        """Start episodes: the tool's pose (n, 3), and where each part stands (n, P, 2) and how it is turned (n, P)."""
        self.start(ids, seeds)
        for k, part in enumerate(self.parts):
            position = np.concatenate([spots_nP2[:, k], np.full((len(ids), 1), part.height)], axis=1)
            about = np.zeros((len(ids), 3))
            about[:, 2] = yaws_nP[:, k]
            quat = quat_multiply(quat_from_rotvec(about), np.array([part.quat]))
            if part.fixed:
                self.sim.view("mocap_pos")[ids, self._mocap[k]] = position
                self.sim.view("mocap_quat")[ids, self._mocap[k]] = quat
            else:
                row = self._qpos[k]
                self.sim.view("qpos")[ids, row : row + 7] = np.concatenate([position, quat], axis=1)
        self.robot.place(ids, tool, tool_rotvec)
        self.settle(ids)

    def pose(self, part: int) -> Poses:
        """Where a part is in every copy."""
        body = self._bodies[part]
        return Poses(self.sim.view("xpos")[:, body].copy(), self.sim.view("xmat")[:, body].reshape(-1, 3, 3).copy())

    def quat(self, part: int) -> np.ndarray:
        """A part's unit quaternion (w, x, y, z), (N, 4)."""
        return self.sim.view("xquat")[:, self._bodies[part]]

    def push(self, speed_NP3: np.ndarray) -> None:
        """Add a planar velocity (m/s) and a turn about the vertical (rad/s) to each loose part, (N, P, 3)."""
        for k in self._loose:
            row = self._qvel[k]
            velocity = self.sim.view("qvel")
            velocity[:, row : row + 2] += speed_NP3[:, k, :2]
            velocity[:, row + 5] += speed_NP3[:, k, 2]


def _robot(name: str) -> FloatingGripper | PandaArm:
    if name == "gripper":
        return FloatingGripper(grip=True, finger_damping=FINGER_DAMPING, step=STEP)
    return PandaArm(grip=True, finger_damping=FINGER_DAMPING, reach=0.0, step=STEP)
