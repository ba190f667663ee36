"""The scene of an assembly in MuJoCo: table, parts, a robot with fingers, a camera on it and one in front."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.camera import KINDS, Camera, Kind
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.robots.gripper import FloatingGripper
from embodkd.envs.sim.robots.panda import PandaArm
from embodkd.envs.sim.table import COLOUR, table_scene
from embodkd.envs.sim.world import SimWorld
from embodkd.envs.tasks.assembly.parts import Pair, Part
from embodkd.envs.tasks.assembly.screw import Nut, Screw

TIMESTEP, SUBSTEPS = 0.004, 25  # 10 Hz
STEP = (0.025, 0.35)  # m per axis, rad: how far one action may move the tool
SLOW_FINGERS = 100.0  # N s/m: fingers close at 0.2 m/s; faster ones go deep into a wide part within one step
FLOOR = -0.2  # m: where parts that fall off the table come to rest
OVERVIEW = Camera("overview", "", (0.42, -0.36, 0.34), (0.0, 0.0, 0.05), 0.1, 1.5, fovy=45)


def cameras(tool_body: str, image_size: int, shapes: tuple[Kind, ...]) -> list[Camera]:
    """A camera on the hand, looking past the fingertips, with ``shapes`` of its own, and one across the table."""
    at, aim = (0.08, 0.0, 0.07), (0.01, 0.0, -0.02)
    return [
        Camera("wrist", tool_body, at, aim, 0.03, 0.3, fovy=70, size=image_size, shapes=shapes),
        Camera("front", "", (0.4, 0.0, 0.3), (0.0, 0.0, 0.03), 0.2, 0.8, fovy=45, size=image_size, shapes=KINDS),
    ]


class AssemblyWorld(SimWorld):
    """The scene on the batched simulator; ``nuts`` by the screws among the pairs."""

    robot: FloatingGripper | PandaArm

    def __init__(
        self,
        num_envs: int,
        *,
        threads: int,
        image_size: int,
        randomise: Randomise,
        parts: tuple[Part, ...],
        pairs: tuple[Pair, ...],
        robot: str,
        foot: float,
        shapes: tuple[Kind, ...],
    ) -> None:
        spec = table_scene((0.65, 0.5, 0.01), x=-0.15, timestep=TIMESTEP, grasps=True)
        for part in parts:
            body = spec.worldbody.add_body(name=part.name, mocap=part.fixed)
            if not part.fixed:
                body.add_freejoint(name=part.name)
            part.shape(body)
        screws = [pair for pair in pairs if isinstance(pair, Screw)]
        for screw in screws:
            screw.build(spec)
        arm = _robot(robot, foot)
        holder = arm.build(spec)
        eyes = cameras(holder.name, image_size, shapes)
        # nobody sees it; it is there to be fallen on, and its colour only counts where that of the table is shifted
        spec.worldbody.add_geom(
            name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], pos=[0, 0, FLOOR], rgba=[*COLOUR, 0]
        )
        super().__init__(spec, arm, eyes, OVERVIEW, num_envs, threads=threads, substeps=SUBSTEPS, randomise=randomise)
        self.nuts = {screw: Nut(self.sim, screw) for screw in screws}
        self._names = {index: name for name, index in self.body_ids.items()}
        self._twists = {k: self.loose(part.name)[1] for k, part in enumerate(parts) if not part.fixed}

    def quat(self, part: str) -> np.ndarray:
        """A part's unit quaternion (w, x, y, z), (N, 4)."""
        return self.sim.view("xquat")[:, self.body_ids[part]]

    def touched(self, part: str, ids: np.ndarray) -> list[set[str]]:
        """Names of the bodies that a part touches in each of the copies ``ids``."""
        found = self.sim.touched(self.body_ids[part], ids)
        return [{self._names[body] for body in bodies} for bodies in found]

    def push(self, speed_NP3: np.ndarray) -> None:
        """Add a planar velocity (m/s) and a turn about the vertical (rad/s) to each loose part, (N, P, 3)."""
        for k, row in self._twists.items():
            twist = self.sim.view("qvel")[:, row]
            twist[:, :2] += speed_NP3[:, k, :2]
            twist[:, 5] += speed_NP3[:, k, 2]


def _robot(name: str, foot: float) -> FloatingGripper | PandaArm:
    if name == "gripper":
        return FloatingGripper(grip=True, finger_damping=SLOW_FINGERS, step=STEP)
    return PandaArm(grip=True, finger_damping=SLOW_FINGERS, reach=0.0, step=STEP, base=(foot, 0.0, 0.0))
