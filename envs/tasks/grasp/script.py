"""A scripted grasp: from above, across the object's narrow side, by fourteen numbers that a search found.

It knows where the object is and how far it reaches, and has no memory: how far the hand has closed is read off the last
action.  ``python -m benchmarks.grasp_script`` is the search (the cross-entropy method) that found ``FOUND``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from embodkd.envs import draws
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply, rotvec_from_quat, unrotate
from embodkd.envs.sim.robots.hand import STEP
from embodkd.envs.tasks.grasp.task import Grasp
from embodkd.envs.tasks.hand_scene import OBJECT

# actions of ShadowHand: bending of the four fingers at their roots and further out; the thumb's turn, bend and end
_ROOTS, _ENDS, _THUMB = [3, 6, 9, 13], [4, 7, 10, 14], {"turn": 15, "bend": 16, "end": 19}
_CLOSING = 8  # the action whose number says how far the hand has closed: the ring finger's spread, which is not needed
_YAWS = np.linspace(-0.75, 0.75, 13)  # rad, that are tried for the narrow side
_NARROW = 0.006  # m: widths that differ by less count as alike
_HOVER, _BESIDE = 0.06, 0.015  # m: the hand stays that much higher until it is that near, seen from above
_THERE, _LOST = 0.015, 0.11  # m from palm to its goal, from palm to object
_SLOW = 0.02  # m/s


class Numbers(NamedTuple):
    """What the search is over, a number each or (N,): lengths in m, angles in rad, the rest actions of the joints."""

    ahead: Any  # the palm's place beyond the object's centre, along the hand
    aside: Any  # and across it
    above: Any  # above the object's centre
    tall: Any  # and for each metre that the object reaches above its centre
    pitch: Any
    roll: Any
    across: Any  # turn of the direction in which the hand closes, from the hand's own
    open: Any  # bending of the fingers before they close
    root: Any  # of their roots when they are closed
    end: Any  # further out
    thumb_turn: Any
    thumb_bend: Any  # closed
    thumb_end: Any
    pace: Any  # share of closing in one step


START = Numbers(0.0, 0.0, 0.02, 0.3, 0.0, 0.0, 0.0, 0.0, 0.7, 0.4, 0.0, 0.6, -0.4, 0.12)
SPREAD = Numbers(0.02, 0.015, 0.02, 0.4, 0.2, 0.2, 0.3, 0.2, 0.3, 0.3, 0.3, 0.4, 0.4, 0.05)
"""Where the search begins, and how far it looks about at first."""
FOUND = Numbers(
    -0.0220,
    0.0038,
    -0.0089,
    0.2343,
    -0.0498,
    -0.2385,
    -0.4113,
    -0.1221,
    0.5454,
    0.5958,
    -0.0954,
    1.0993,
    -0.0297,
    0.1068,
)


def grasp(
    task: Grasp, numbers: Numbers, offset_N3: np.ndarray | float = 0.0, hurry_N: np.ndarray | float = 1.0
) -> np.ndarray:
    """The script's actions in the state that a task is in, float32 (N, 26).

    ``offset_N3`` (m): by how much it misses the object; ``hurry_N``: its share of full speed.
    """
    world, hand, last = task.world, task.world.robot, task.last_action.astype(float)
    n = Numbers(*(np.broadcast_to(np.asarray(value, float), (task.num_envs,)) for value in numbers))
    place = world.position(OBJECT) + offset_N3
    yaw = _yaw(task, n.across)
    quat = _turned(yaw, n.pitch, n.roll)
    goal = place + _about_z(yaw, np.stack([n.ahead, n.aside], axis=1))
    top = world.reach(np.tile(np.eye(3), (task.num_envs, 1, 1)))[:, 2]
    goal[:, 2] += n.above + n.tall * top
    missing = goal - world.palm_position
    beside = np.linalg.norm(missing[:, :2], axis=1)
    near = (beside < _BESIDE) & ((np.abs(missing[:, 2]) < _THERE) | (np.linalg.norm(hand.twist[:, :3], axis=1) < _SLOW))
    has = np.linalg.norm(world.position(OBJECT) - world.palm_position, axis=1) < _LOST
    closed = np.where(
        has & (near | (last[:, _CLOSING] > 0)), np.minimum(np.maximum(last[:, _CLOSING], 0) + n.pace, 1), 0
    )
    # above the object first, then down on it; with the object in hand, to the target
    missing[:, 2] += np.clip(beside - 0.5 * _BESIDE, 0, _HOVER)
    move = np.where((closed >= 1)[:, None], task.target_N3 - world.position(OBJECT), missing)
    actions = np.zeros((task.num_envs, hand.action_size))
    actions[:, 20:23] = unrotate(hand.rotation, move) / STEP[0]
    turn = rotvec_from_quat(quat_multiply(hand.quat * [1.0, -1, -1, -1], quat))
    actions[:, 23:] = turn / STEP[1]
    actions[:, 20:] *= np.broadcast_to(hurry_N, (task.num_envs,))[:, None]
    actions[:, _ROOTS] = (n.open + closed * (n.root - n.open))[:, None]
    actions[:, _ENDS] = (closed * n.end)[:, None]
    actions[:, _THUMB["turn"]] = n.thumb_turn
    actions[:, _THUMB["bend"]], actions[:, _THUMB["end"]] = closed * n.thumb_bend, closed * n.thumb_end
    actions[:, _CLOSING] = closed
    return np.clip(actions, -1, 1).astype(np.float32)


def _yaw(task: Grasp, across_N: np.ndarray) -> np.ndarray:
    """Where the hand should point, (N,): so that it closes across the narrowest width that it can turn to."""
    angle = _YAWS + across_N[:, None]
    zero = np.zeros_like(angle)
    towards = np.stack([np.cos(angle), np.sin(angle), zero], axis=2)
    width = task.world.widths(towards)
    weight = np.exp((width.min(axis=1, keepdims=True) - width - 0.002 * np.abs(_YAWS)) / _NARROW)
    return (weight * _YAWS).sum(axis=1) / weight.sum(axis=1)


def _turned(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Quaternions (N, 4) of a hand that rolls, then pitches, then turns about the vertical."""
    made = []
    for axis, angle in enumerate((roll, pitch, yaw)):
        made.append(quat_from_rotvec(angle[:, None] * np.eye(3)[axis]))
    return quat_multiply(made[2], quat_multiply(made[1], made[0]))


def _about_z(yaw: np.ndarray, ahead_N2: np.ndarray) -> np.ndarray:
    """Vectors in a turned hand's horizontal axes, as the world has them, (N, 3)."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    x, y = ahead_N2.T
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, np.zeros_like(x)], axis=1)


class Script:
    """The script as an actor and its own session over the copies of ``task``, whatever it is shown.

    ``noise`` scales how far it misses the object in an episode (4 mm), and how much slower than full speed it is (up to
    40 %).
    """

    reads: tuple[str, ...] = ()

    def __init__(self, task: Grasp, *, noise: float = 1.0, numbers: Numbers = FOUND) -> None:
        self.task, self.numbers, self._noise = task, numbers, noise

    def session(self, copies: int, chunk: int = 0) -> Script:
        """Itself; ValueError for another number of copies than its task has."""
        if copies != self.task.num_envs:
            raise ValueError(f"this script acts in its own task of {self.task.num_envs} copies, not in {copies}")
        return self

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Nothing is remembered, so nothing is forgotten."""

    def act(self, obs: Mapping[str, np.ndarray] | None = None, ids: np.ndarray | None = None) -> np.ndarray:
        """The next actions for the state that the task is in, float32 (n, 26); of the copies ``ids``, if given."""
        seeds = self.task.seeds
        offset = 0.004 * self._noise * draws.normal(seeds, "script offset", 3)
        hurry = 1 - 0.4 * min(self._noise, 1.0) * draws.uniform(seeds, "script speed", 1)[:, 0]
        actions = grasp(self.task, self.numbers, offset, hurry)
        return actions if ids is None else actions[ids]
