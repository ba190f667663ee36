"""The scene of PegHole in MuJoCo: table, four-walled socket, square peg in the robot's tool."""

from __future__ import annotations

import mujoco
from embodkd.envs.camera import KINDS, Camera
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.robots.base import ToolRobot
from embodkd.envs.sim.robots.gripper import FloatingGripper
from embodkd.envs.sim.table import table_scene
from embodkd.envs.sim.world import SimWorld

DEPTH = 0.025  # m, of the socket
PEG_HALF_WIDTH = 0.008
PEG_LENGTH = 0.05
WALL = 0.012
SUBSTEPS = 12  # of 4 ms
SOCKET, PEG = (0.2, 0.42, 0.66), (0.86, 0.45, 0.16)  # colours
FRICTION = [0.3, 0.005, 1e-4]  # of peg and walls


def cameras(tool_body: str, image_size: int) -> list[Camera]:
    """A camera on the tool, looking at its tip, and one beside the table."""
    aim = (0.0, 0.0, 0.025)
    return [
        Camera("wrist", tool_body, (0.075, 0.0, 0.065), (0.0, 0.0, 0.0), 0.05, 0.17, size=image_size, shapes=KINDS),
        Camera("front", "", (0.16, 0.0, 0.14), aim, 0.08, 0.28, fovy=45, size=image_size, shapes=KINDS),
    ]


OVERVIEW = Camera("overview", "", (0.22, -0.18, 0.18), (0.0, 0.0, 0.05), 0.1, 1.0, fovy=45)


def socket_walls(clearance: float) -> list[tuple[list[float], list[float]]]:
    """Centre and half-size of the socket's four walls, in its own frame with the rim at ``DEPTH``."""
    inner = PEG_HALF_WIDTH + clearance
    middle, outer = inner + WALL / 2, inner + WALL
    half = DEPTH / 2
    return [([sign * middle, 0, half], [WALL / 2, outer, half]) for sign in (-1, 1)] + [
        ([0, sign * middle, half], [inner, WALL / 2, half]) for sign in (-1, 1)
    ]


class PegWorld(SimWorld):
    """The scene on the batched simulator."""

    def __init__(
        self, num_envs: int, *, threads: int, image_size: int, randomise: Randomise, robot: str, clearance: float
    ) -> None:
        spec, box = table_scene((0.3, 0.3, 0.01)), mujoco.mjtGeom.mjGEOM_BOX
        socket = spec.worldbody.add_body(name="socket", mocap=True)
        for index, (centre, half) in enumerate(socket_walls(clearance)):
            socket.add_geom(name=f"wall{index}", type=box, pos=centre, size=half, rgba=[*SOCKET, 1], friction=FRICTION)
        arm = _robot(robot)
        holder = arm.build(spec)
        middle = PEG_LENGTH / 2
        size = [PEG_HALF_WIDTH, PEG_HALF_WIDTH, middle]
        holder.add_geom(
            name="peg", type=box, pos=[0, 0, middle], size=size, mass=0.0, rgba=[*PEG, 1], friction=FRICTION
        )
        eyes = cameras(holder.name, image_size)
        super().__init__(spec, arm, eyes, OVERVIEW, num_envs, threads=threads, substeps=SUBSTEPS, randomise=randomise)


def _robot(name: str) -> ToolRobot:
    if name == "gripper":
        return FloatingGripper()
    from embodkd.envs.sim.robots.panda import PandaArm

    return PandaArm()
