"""A running MuJoCo scene: ``World`` on the batched simulator."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from embodkd.envs.camera import By, Camera
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.camera import SimCamera
from embodkd.envs.sim.robots.base import ToolRobot
from embodkd.envs.world import World


class SimWorld(World):
    """N copies of a model; see ``World`` for what its methods promise."""

    sim: BatchSim
    robot: ToolRobot

    def __init__(
        self,
        spec: mujoco.MjSpec,
        robot: ToolRobot,
        cameras: Sequence[Camera],
        overview: Camera,
        num_envs: int,
        *,
        threads: int,
        substeps: int,
        randomise: Randomise,
    ) -> None:
        self.sim, self.robot = BatchSim(spec.compile(), num_envs, threads=threads), robot
        robot.bind(self.sim)
        super().__init__(cameras, overview, substeps=substeps, randomise=randomise)
        self.sim.view("xpos"), self.sim.view("xmat")
        model = self.sim.model
        self.body_ids = {model.body(index).name: index for index in range(model.nbody)}

    def eye(self, camera: Camera, randomise: Randomise) -> SimCamera:
        """A camera on this scene."""
        return SimCamera(self.sim, camera, randomise)

    def see(self, by: By) -> None:
        """See ``World``."""
        for camera in self.cameras.values():
            assert isinstance(camera, SimCamera)
            camera.by = by

    def loose(self, body: str) -> tuple[slice, slice]:
        """Where a loose body stands in the rows: its position and quaternion in ``qpos``, its twist in ``qvel``."""
        joint = self.sim.model.joint(body)
        return slice(joint.qposadr[0], joint.qposadr[0] + 7), slice(joint.dofadr[0], joint.dofadr[0] + 6)

    def put(self, body: str, ids: np.ndarray, position_n3: np.ndarray, quat_n4: np.ndarray) -> None:
        """See ``World``; what stands still is a mocap body, what is loose has a free joint of its own name."""
        fixed = self.sim.model.body(body).mocapid[0]
        if fixed >= 0:
            self.sim.view("mocap_pos")[ids, fixed], self.sim.view("mocap_quat")[ids, fixed] = position_n3, quat_n4
            return
        pose, twist = self.loose(body)
        self.sim.view("qpos")[ids, pose] = np.concatenate([position_n3, quat_n4], axis=1)
        self.sim.view("qvel")[ids, twist] = 0.0

    def position(self, body: str) -> np.ndarray:
        """See ``World``."""
        return self.sim.view("xpos")[:, self.body_ids[body]]

    def rotation(self, body: str) -> np.ndarray:
        """See ``World``."""
        return self.sim.view("xmat")[:, self.body_ids[body]].reshape(-1, 3, 3)

    def velocity(self, body: str) -> np.ndarray:
        """See ``World``."""
        return self.sim.view("qvel")[:, self.loose(body)[1]][:, :3]

    def close(self) -> None:
        """Free the simulator's memory and threads."""
        self.sim.close()

    def _reset(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        sim, how = self.sim, self._randomise
        sim.reset(ids)
        sim.restore(ids)
        if how.mass:
            factor = how.factor(seeds, "mass", sim.model.nbody)
            sim.parameter("body_mass")[ids] *= factor
            sim.parameter("body_inertia")[ids] *= factor[..., None]
            sim.constants(ids)
        if how.friction:
            sim.parameter("geom_friction")[ids] *= how.factor(seeds, "friction", 1)[..., None]
        if how.gains:
            factor = how.factor(seeds, "gains", sim.model.nu)[..., None]
            sim.parameter("actuator_gainprm")[ids] *= factor
            sim.parameter("actuator_biasprm")[ids] *= factor

    def _step(self) -> None:
        self.sim.step(self._substeps)
