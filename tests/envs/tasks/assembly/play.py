"""How tests play assemblies: the expert, a hand that does nothing, parts put where a test wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec, rot6d_from_matrix
from embodkd.envs.tasks.assembly.expert import Expert
from embodkd.envs.tasks.assembly.parts import Poses
from embodkd.envs.tasks.assembly.task import Assembly

UPRIGHT = (1.0, 0.0, 0.0, 0.0)


class Played(NamedTuple):
    """What came of it: per copy and pair the step in which it was joined (0: never), and what was paid in all."""

    task: Assembly
    step_NK: np.ndarray
    paid_N: np.ndarray


def played(task: Assembly, whole: bool = False, watch: Callable[[], None] = lambda: None) -> Played:
    """Let the expert play the episodes 0, 1, ... until all have succeeded or time is up; ``whole``: until time is up.

    ``watch`` is called after each step.
    """
    copies = np.arange(task.num_envs)
    expert, step_NK, paid_N = Expert(task), np.zeros(task.joined_NK.shape, int), np.zeros(task.num_envs)
    task.reset(copies)
    expert.begin()
    while task.steps[0] < task.max_steps and (whole or not task.joined_NK.all()):
        before_NK = task.joined_NK.copy()
        paid_N += task.step(expert.act()).reward
        step_NK[task.joined_NK & ~before_NK] = task.steps[0]
        watch()
    return Played(task, step_NK, paid_N)


def hold(task: Assembly, rise: float = 0.0) -> np.ndarray:
    """The action with open fingers that stays, or rises by ``rise`` (m) a step."""
    tool = task.tool()
    grip = -np.ones((task.num_envs, 1))
    return np.concatenate([tool.position + [0.0, 0.0, rise], rot6d_from_matrix(tool.rotation), grip], axis=1)


def wait(task: Assembly, steps: int) -> None:
    """Stay for so many steps."""
    for _ in range(steps):
        task.step(hold(task))


def put(task: Assembly, part: str, place_N3: np.ndarray, quat: tuple[float, ...] | np.ndarray = UPRIGHT) -> None:
    """Put a loose part of every copy there, at rest."""
    copies = np.arange(task.num_envs)
    task.world.put(part, copies, place_N3, np.broadcast_to(quat, (len(copies), 4)))


def speed(task: Assembly, part: str) -> np.ndarray:
    """Linear and angular speeds of a loose part along each axis, (N, 6)."""
    return np.abs(task.world.sim.view("qvel")[:, task.world.loose(part)[1]])


def tilted(angle: float, turn: float = 0.0, about: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> np.ndarray:
    """A rotation (3, 3): a turn about the vertical, then a tilt about ``about``, both in rad."""
    axis = np.asarray(about) / np.linalg.norm(about)
    over, spin = (matrix_from_quat(quat_from_rotvec(vector)) for vector in (angle * axis, np.array([0.0, 0.0, turn])))
    return over @ spin


def rested(task: Assembly) -> dict[str, np.ndarray]:
    """Start episodes, leave the parts alone for two seconds, and say how far each has moved along each axis, (N, 3)."""
    task.reset(np.arange(task.num_envs))
    before = {part.name: task.part(part.name).position for part in task.parts}
    wait(task, 20)
    return {name: np.abs(task.part(name).position - place) for name, place in before.items()}


def joined(pair, position, tilt: float = 0.0, turn: float = 0.0) -> bool:
    """Whether a pair is together with the part at this position (m) in the base's frame, tilted and turned (rad)."""
    return bool(pair.joined(Poses(np.array([position], float), tilted(tilt, turn)[None]))[0])
