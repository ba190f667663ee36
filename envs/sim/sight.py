"""Which geom groups a camera could see at all: rays need not be tested against the others."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.geometry import matrix_from_quat

# fields that move a geom within its body: where copies differ in one of these, boxes of the model prove nothing
_SHAPES = {"geom_type", "geom_pos", "geom_quat", "geom_size", "geom_aabb", "geom_rbound", "geom_dataid"}


class Sight:
    """A test that never drops a visible geom: each geom's box, as a whole, lies outside one side of the field of view.

    A group is skipped only when that holds for all its geoms in all copies asked for.
    """

    def __init__(self, model: mujoco.MjModel, groups: np.ndarray, slope: float) -> None:
        """``groups`` (mjNGROUP,) are those worth asking for; ``slope`` is the tangent of half the field of view."""
        self._groups, self._slope = groups, slope
        chosen = np.flatnonzero(groups[model.geom_group] > 0)
        self._bodies, self._group_of = model.geom_bodyid[chosen], model.geom_group[chosen]
        centre, half = model.geom_aabb[chosen, :3], model.geom_aabb[chosen, 3:]
        self._endless = (half <= 0).all(axis=1)  # planes
        signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, 8).T
        corners = centre[:, None] + signs * half[:, None]
        turn = matrix_from_quat(model.geom_quat[chosen])
        self._corners_G83 = model.geom_pos[chosen, None] + corners @ np.swapaxes(turn, 1, 2)

    def groups(
        self,
        origin: np.ndarray,
        rotation: np.ndarray,
        xpos: np.ndarray,
        xmat: np.ndarray,
        parameters: dict[str, np.ndarray],
    ) -> np.ndarray:
        """The groups (mjNGROUP,) that cameras at ``origin`` (n, 3) and ``rotation`` (n, 3, 3) may see.

        ``xpos`` (n, nbody, 3) and ``xmat`` (n, nbody, 9) place the bodies; ``parameters`` are those that differ between
        copies.
        """
        if _SHAPES & parameters.keys() or len(np.unique(self._group_of)) < 2:
            return self._groups
        turn = np.swapaxes(rotation, 1, 2)  # to the camera's axes
        place = (turn[:, None] @ (xpos[:, self._bodies] - origin[:, None])[..., None])[..., 0]
        axes = turn[:, None] @ xmat[:, self._bodies].reshape(len(xpos), -1, 3, 3)
        corners = place[:, :, None] + self._corners_G83 @ np.swapaxes(axes, 2, 3)
        x, y, reach = corners[..., 0], corners[..., 1], -self._slope * corners[..., 2]
        hidden = (x > reach).all(2) | (-x > reach).all(2) | (y > reach).all(2) | (-y > reach).all(2)
        seen = self._endless | ~hidden.all(axis=0)
        found = np.zeros_like(self._groups)
        found[self._group_of[seen]] = 1
        return found
