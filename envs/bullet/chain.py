"""Where jointed bodies are, and how joints move them, for all copies at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from embodkd.envs.bullet.scene import Body
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec, rotate


class Chain:
    """Kinematics of the jointed bodies of a scene; B counts all bodies, J the joints that are not fast."""

    def __init__(self, bodies: Sequence[Body]) -> None:
        self._hung = [(index, body.joint) for index, body in enumerate(bodies) if body.joint is not None]
        self._turn = {index: matrix_from_quat(np.array(joint.quat)) for index, joint in self._hung}
        moving = [(index, joint) for index, joint in self._hung if joint.axis is not None]
        self.count = len(moving)
        self._number = {index: number for number, (index, _) in enumerate(moving)}
        self._body_J = np.array([index for index, _ in moving], int)
        self._axis_J3 = np.array([joint.axis for _, joint in moving]).reshape(-1, 3)
        self._slide_J = np.array([joint.slide for _, joint in moving], bool)

    def derive(self, place_NB3: np.ndarray, rotation_NB33: np.ndarray, joint_NJ: np.ndarray) -> None:
        """Write the rows of the jointed bodies, whose parents come before them."""
        moved_NJ3 = joint_NJ[:, :, None] * self._axis_J3
        turned_NJ33 = matrix_from_quat(quat_from_rotvec(moved_NJ3))
        for index, joint in self._hung:
            above = rotation_NB33[:, joint.parent]
            place_NB3[:, index] = place_NB3[:, joint.parent] + above @ np.array(joint.position)
            rotation = above @ self._turn[index]
            if joint.slide:
                place_NB3[:, index] += rotate(rotation, moved_NJ3[:, self._number[index]])
            elif joint.axis is not None:
                rotation = rotation @ turned_NJ33[:, self._number[index]]
            rotation_NB33[:, index] = rotation

    def jacobian(self, place_NB3: np.ndarray, rotation_NB33: np.ndarray, body: int) -> np.ndarray:
        """Linear and angular velocity of a body's origin per joint speed, world axes, (N, 6, J)."""
        axis_NJ3 = (rotation_NB33[:, self._body_J] @ self._axis_J3[:, :, None])[..., 0]
        linear = np.cross(axis_NJ3, place_NB3[:, body, None] - place_NB3[:, self._body_J])
        linear = np.where(self._slide_J[:, None], axis_NJ3, linear)
        angular = np.where(self._slide_J[:, None], 0.0, axis_NJ3)
        moves_J = np.isin(self._body_J, self._above(body))
        return np.swapaxes(np.concatenate([linear, angular], axis=2) * moves_J[:, None], 1, 2)

    def _above(self, body: int) -> list[int]:
        parents = {index: joint.parent for index, joint in self._hung}
        line = [body]
        while line[-1] in parents:
            line.append(parents[line[-1]])
        return line
