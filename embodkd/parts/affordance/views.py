"""From pictures back to points: which points of an object a camera sees, and which of them a mask in its picture means.

The last step of the negative affordance of AffordDex (render, describe, propose, score, back-project).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

SLACK = 0.004  # metres that a point may lie behind what its pixel shows


class SeenFrom(NamedTuple):
    """One picture of an object. rotation (3, 3) and place (3,) of the camera, which looks along its -z with y upwards;
    focal length in pixels; depth (H, W), metres along the view, infinite where nothing is; colour (H, W, 3) in 0..1."""

    rotation: np.ndarray
    place: np.ndarray
    focal: float
    depth: np.ndarray
    colour: np.ndarray


def pixels_of(point_P3: np.ndarray, view: SeenFrom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column (P,) int64 of points and their depths (P,), metres; what is behind the camera has depth < 0."""
    height, width = view.depth.shape
    own_P3 = (point_P3 - view.place) @ view.rotation
    depth_P = -own_P3[:, 2]
    safe_P = np.where(depth_P > 1e-9, depth_P, 1.0)
    column_P = np.floor(view.focal * own_P3[:, 0] / safe_P + width / 2).astype(np.int64)
    row_P = np.floor(-view.focal * own_P3[:, 1] / safe_P + height / 2).astype(np.int64)
    return row_P, column_P, depth_P


def visible(point_P3: np.ndarray, view: SeenFrom, slack: float = SLACK) -> np.ndarray:
    """Which points the picture shows, bool (P,): inside it, before the camera, not behind what their pixel shows."""
    row_P, column_P, depth_P = pixels_of(point_P3, view)
    height, width = view.depth.shape
    inside_P = (depth_P > 1e-9) & (row_P >= 0) & (row_P < height) & (column_P >= 0) & (column_P < width)
    shown_P = np.full(len(point_P3), -np.inf)
    shown_P[inside_P] = view.depth[row_P[inside_P], column_P[inside_P]]
    # where the middle of a pixel misses the object, nothing says what lies there
    return inside_P & np.isfinite(shown_P) & (depth_P <= shown_P + slack)


def back_projected(point_P3: np.ndarray, view: SeenFrom, mask_HW: np.ndarray, slack: float = SLACK) -> np.ndarray:
    """Which points are visible and fall into the mask, bool (P,)."""
    row_P, column_P, _ = pixels_of(point_P3, view)
    chosen_P = visible(point_P3, view, slack)
    chosen_P[chosen_P] = mask_HW[row_P[chosen_P], column_P[chosen_P]]
    return chosen_P


def blurred_outside(colour_HW3: np.ndarray, mask_HW: np.ndarray, sigma: float = 100.0) -> np.ndarray:
    """The picture with all that the mask leaves out blurred by `sigma` pixels; a full mask leaves it as it is."""
    from scipy.ndimage import gaussian_filter

    soft_HW3 = gaussian_filter(colour_HW3, (sigma, sigma, 0), mode="nearest")
    return np.where(mask_HW[..., None], colour_HW3, soft_HW3)


def without_doubles(masks: Sequence[np.ndarray], most_alike: float = 0.7, largest: float = 0.4) -> list[np.ndarray]:
    """Masks (H, W), bool, of at most a share `largest` of the picture, none like an earlier, larger one (IoU > .7)."""
    kept: list[np.ndarray] = []
    for mask in sorted(masks, key=lambda mask: -int(mask.sum())):
        if not 0 < mask.mean() <= largest:
            continue
        alike = ((mask & other).sum() / (mask | other).sum() for other in kept)
        if all(share <= most_alike for share in alike):
            kept.append(mask)
    return kept


def negative_points(
    point_P3: np.ndarray,
    views: Sequence[SeenFrom],
    propose: Callable[[np.ndarray], Sequence[np.ndarray]],
    score: Callable[[np.ndarray, str], float],
    sentence: str | None,
    least: float = -np.inf,
) -> np.ndarray:
    """Which points must not be touched, bool (P,): in each view the mask whose picture fits the sentence best.

    propose: colour (H, W, 3) -> masks; score: (picture that is blurred outside a mask, sentence) -> how well they fit.
    sentence: what to keep off; None: this object may be touched anywhere. A view without masks says nothing, nor does
    one whose best mask fits less than `least`: as published every view chooses, also one from which the part is hidden.
    """
    chosen_P = np.zeros(len(point_P3), dtype=bool)
    if sentence is None:
        return chosen_P
    for view in views:
        masks = without_doubles(propose(view.colour))
        if masks:
            fits = [score(blurred_outside(view.colour, mask), sentence) for mask in masks]
            best = int(np.argmax(fits))
            if fits[best] >= least:
                chosen_P |= back_projected(point_P3, view, masks[best])
    return chosen_P
