"""What tasks of the floating Shadow hand share: what it feels of itself, where it has the object, what holding is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from embodkd.envs.geometry import matrix_from_quat, unrotate
from embodkd.envs.robot import FORCE, POSITION, ROTVEC, TWIST
from embodkd.envs.sim.robots.hand import JOINTS
from embodkd.envs.spec import Column
from embodkd.envs.tasks.hand_scene import OBJECT, HandScene
from embodkd.envs.tasks.world_task import WorldTask

REACHED = 0.04  # m from a fingertip to the object's centre that counts as there
PROPRIO = (
    Column("angle of each joint", JOINTS, "rad"),
    Column("speed of each joint", JOINTS, "5 rad/s"),
    POSITION,
    ROTVEC,
    *TWIST,
    Column("torque of each finger's and wrist's actuator", 20, "Nm"),
    *FORCE,
    Column("touch of each fingertip", 5, "N"),
    Column("last action", 26, "-"),
)
IN_HAND = (
    Column("from the palm to the object", 3, "m", "palm"),
    Column("x axis of the object", 3, "-", "palm"),
    Column("z axis of the object", 3, "-", "palm"),
    Column("velocity of the object", 3, "m/s", "palm"),
    Column("angular velocity of the object", 3, "rad/s", "palm"),
    Column("from each fingertip to the object", 15, "m", "palm"),
    Column("whether each finger and the palm touch the object", 6, "-"),
)


class Grip(NamedTuple):
    """Whether thumb and two fingers are on the object, (N,) of 0 and 1, and what that and coming near is worth."""

    held: np.ndarray
    worth: np.ndarray


class HandTask(WorldTask):
    """Object and hand are free.  Actions: 20 finger goals, six deltas of the base (see ``ShadowHand``)."""

    control_hz = 25.0
    max_steps = 75
    world: HandScene
    # forces belong to the last substep and are not part of a simulator's state: kept so that a resume has them
    _felt_NF: np.ndarray
    _contacts_N6: np.ndarray

    def feel_nothing(self, ids: np.ndarray) -> None:
        """Forget what was felt in copies ``ids``: their episodes begin."""
        self._felt_NF[ids], self._contacts_N6[ids] = 0.0, 0.0

    def feel(self) -> None:
        """Take note of forces and contacts of the step that has just been made."""
        world, hand = self.world, self.world.robot
        self._felt_NF[:] = np.concatenate([hand.joint_torques, hand.force, world.touch], axis=1)
        self._contacts_N6[:] = world.contacts

    def grip(self) -> Grip:
        """How well the hand has the object: fingertips and palm near it, thumb and fingers on it."""
        away = np.maximum(np.linalg.norm(self._to_object(), axis=2) - REACHED, 0.0)
        # the thumb counts as much as the four fingers together: without it nothing is held
        reach = 0.5 * np.exp(-10 * away[:, 4]) + 0.5 * np.exp(-10 * away[:, :4]).mean(axis=1)
        palm = np.exp(-15 * np.linalg.norm(self._palm_offset(), axis=1))
        thumb, fingers = self._contacts_N6[:, 4], self._contacts_N6[:, :4].sum(axis=1)
        held = thumb * (fingers >= 2)
        touching = 0.3 * thumb + 0.15 * np.minimum(fingers, 2) + 0.4 * held
        return Grip(held, 0.3 * reach + 0.2 * palm + 0.5 * touching)

    def _palm_offset(self) -> np.ndarray:
        return self.world.position(OBJECT) - self.world.palm_position

    def _to_object(self) -> np.ndarray:
        """From each fingertip to the object's centre, world axes, (N, 5, 3)."""
        return self.world.position(OBJECT)[:, None] - self.world.tips

    def _proprio(self) -> tuple[np.ndarray, ...]:
        hand = self.world.robot
        moves = hand.position, hand.rotvec, hand.twist
        return hand.joints, hand.joint_speeds / 5, *moves, self._felt_NF, self.last_action

    def _in_hand(self) -> tuple[np.ndarray, ...]:
        palm, twist = self.world.palm_rotation, self.world.object_twist
        turn = np.swapaxes(palm, 1, 2) @ matrix_from_quat(self.world.object_quat)
        tips = np.einsum("nji,nkj->nki", palm, self._to_object())
        return (
            unrotate(palm, self._palm_offset()),
            turn[:, :, 0],
            turn[:, :, 2],
            unrotate(palm, twist[:, :3]),
            unrotate(palm, twist[:, 3:]),
            tips.reshape(len(tips), -1),
            self._contacts_N6,
        )
