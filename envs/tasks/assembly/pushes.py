"""The perturbation mode: any loose part may be hit at any step, as its episode draws it."""

from __future__ import annotations

import numpy as np
from embodkd.envs import draws

CHANCE = 0.01  # per part and step


def pushes(seeds_N: np.ndarray, step_N: np.ndarray, steps: int, parts: int, speed: float, turn: float) -> np.ndarray:
    """Velocity that hits each part in this step, mostly none: along x and y (m/s) and about the vertical (rad/s),
    (N, P, 3).

    ``step_N`` counts from 0 in episodes of ``steps`` steps; ``speed`` and ``turn`` are the largest.
    """
    draw = draws.uniform(seeds_N, "push", 4 * parts * steps).reshape(-1, steps, parts, 4)
    hit, size, angle, twist = np.moveaxis(draw[np.arange(len(draw)), step_N], 2, 0)
    planar = np.stack([np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)], axis=-1) * (speed * size)[..., None]
    push = np.concatenate([planar, (turn * (2 * twist - 1))[..., None]], axis=-1)
    return push * (hit < CHANCE)[..., None]
