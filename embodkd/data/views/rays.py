"""A ray caster for scenes of axis-aligned boxes and spheres in one hollow box, with patterns on all surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PATTERNS = ("checks", "stripes", "waves", "shade")
_LIGHT = np.array([0.35, 0.2, 0.91])  # towards the sun, of length 1


@dataclass(frozen=True)
class Scene:
    """shell: (2, 3), the box that everything is in, seen from inside. boxes: (B, 2, 3); balls: (S, 4), centre and
    radius; metres. Of every surface, the six sides of the shell first, then boxes, then balls: pattern (K,), an index
    of PATTERNS; colours (K, 2, 3) in [0, 1], between which it changes; period (K,) metres."""

    shell: np.ndarray
    boxes: np.ndarray
    balls: np.ndarray
    pattern: np.ndarray
    colours: np.ndarray
    period: np.ndarray


def rays_of(pose_44: np.ndarray, intrinsics_4: np.ndarray, height: int, width: int, fine: int) -> np.ndarray:
    """Directions of length 1 in the world, (height * fine * width * fine, 3), row by row, `fine` * `fine` a pixel."""
    fx, fy, cx, cy = intrinsics_4
    x, y = ((np.arange(n * fine) + 0.5) / fine for n in (width, height))
    across, down = np.meshgrid((x - cx) / fx, (y - cy) / fy)
    own_R3 = np.stack([across, down, np.ones_like(across)], -1).reshape(-1, 3)
    world_R3 = own_R3 @ pose_44[:3, :3].T
    return np.asarray(world_R3 / np.linalg.norm(world_R3, axis=1, keepdims=True))


def cast(scene: Scene, origin_3: np.ndarray, ray_R3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What rays from a point within the shell meet first: colour (R, 3) in [0, 1], and where (R, 3)."""
    ray_3R = np.ascontiguousarray(ray_R3.T)
    rows, ahead_3R = np.arange(len(ray_R3)), ray_3R > 0
    one_3R = 1.0 / np.where(np.abs(ray_3R) < 1e-12, 1e-12, ray_3R)
    # the shell is left, boxes are entered
    leave_3R = np.stack([_reach(scene.shell[::-1], a, origin_3, ahead_3R, one_3R) for a in range(3)])
    axis_R = leave_3R.argmin(0)
    time_R, surface_R = leave_3R[axis_R, rows], 2 * axis_R + ahead_3R[axis_R, rows]
    for number, box in enumerate(scene.boxes):
        near_3R = [_reach(box, a, origin_3, ahead_3R, one_3R) for a in range(3)]
        far_3R = [_reach(box[::-1], a, origin_3, ahead_3R, one_3R) for a in range(3)]
        enter_R = np.maximum(np.maximum(near_3R[0], near_3R[1]), near_3R[2])
        out_R = np.minimum(np.minimum(far_3R[0], far_3R[1]), far_3R[2])
        hit_R = np.flatnonzero((enter_R < out_R) & (enter_R > 0) & (enter_R < time_R))
        time_R[hit_R], surface_R[hit_R] = enter_R[hit_R], 6 + number
        axis_R[hit_R] = np.stack([near[hit_R] for near in near_3R]).argmax(0)
    normal_R3 = np.zeros((len(rows), 3))
    normal_R3[rows, axis_R] = -np.sign(ray_3R[axis_R, rows])
    for number, ball in enumerate(scene.balls):
        away_3 = origin_3 - ball[:3]
        half_R = away_3 @ ray_3R
        root_R = half_R**2 - (away_3 @ away_3 - ball[3] ** 2)
        enter_R = np.where(root_R > 0, -half_R - np.sqrt(np.maximum(root_R, 0)), np.inf)
        hit_R = np.flatnonzero((enter_R > 0) & (enter_R < time_R))
        time_R[hit_R], surface_R[hit_R] = enter_R[hit_R], 6 + len(scene.boxes) + number
        normal_R3[hit_R] = (origin_3 + enter_R[hit_R, None] * ray_R3[hit_R] - ball[:3]) / ball[3]
    place_R3 = origin_3 + time_R[:, None] * ray_R3
    return _painted(scene, surface_R, place_R3, normal_R3), place_R3


def _reach(box: np.ndarray, axis: int, origin_3: np.ndarray, ahead_3R: np.ndarray, one_3R: np.ndarray) -> np.ndarray:
    """When a ray passes the plane of the box that it meets first along an axis; of a box turned round, the second."""
    low, high = (box[:, axis] - origin_3[axis]).tolist()
    return np.asarray(np.where(ahead_3R[axis], low, high) * one_3R[axis])


def _painted(scene: Scene, surface_R: np.ndarray, place_R3: np.ndarray, normal_R3: np.ndarray) -> np.ndarray:
    """The colour of surfaces at these places under one far light and an even one."""
    rows, axis_R = np.arange(len(surface_R)), np.abs(normal_R3).argmax(1)
    turn_R = 2 * np.pi / scene.period[surface_R]
    u_R = place_R3[rows, (axis_R + 1) % 3] * turn_R
    v_R = place_R3[rows, (axis_R + 2) % 3] * turn_R
    checks_R = np.sin(u_R) * np.sin(v_R) > 0
    stripes_R = np.sin(u_R) > 0
    waves_R = 0.5 + 0.25 * (np.sin(u_R + 0.5 * v_R) + np.sin(0.7 * v_R - 0.3 * u_R))
    shade_R = 0.5 + 0.5 * np.sin(0.25 * (u_R + v_R))
    mix_R = np.choose(scene.pattern[surface_R], [checks_R, stripes_R, waves_R, shade_R])[:, None]
    colour_R3 = (1 - mix_R) * scene.colours[surface_R, 0] + mix_R * scene.colours[surface_R, 1]
    light_R = 0.75 + 0.25 * (normal_R3 @ _LIGHT)
    return np.asarray(colour_R3 * light_R[:, None])
