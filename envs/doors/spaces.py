"""Gymnasium spaces of a task's groups and actions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from embodkd.envs.spec import TaskSpec
from gymnasium import spaces


def observation_space(spec: TaskSpec, groups: Sequence[str]) -> spaces.Dict:
    """One box per group: bytes for images, floats for the rest."""
    boxes: dict[str, spaces.Space] = {}
    for name in groups:
        group = spec.groups[name]
        if group.is_image:
            boxes[name] = spaces.Box(0, 255, group.shape, np.uint8)
        else:
            boxes[name] = spaces.Box(-group.limit, group.limit, group.shape, np.float32)
    return spaces.Dict(boxes)


def action_space(spec: TaskSpec) -> spaces.Box:
    """Symmetric and normalised."""
    return spaces.Box(-1.0, 1.0, (spec.action_size,), np.float32)


def frames_per_second(spec: TaskSpec) -> int:
    """At which rate pictures of every control step show the task as fast as it is."""
    return max(1, round(spec.control_hz))
