"""From pictures back to points."""

from __future__ import annotations

import numpy as np
import pytest

from embodkd.parts.affordance.views import (
    SeenFrom,
    back_projected,
    blurred_outside,
    negative_points,
    pixels_of,
    visible,
    without_doubles,
)

SIZE, FOCAL = 64, 60.0


def _box(seed: int = 0) -> np.ndarray:
    """Points on a box of 8 x 4 x 4 cm, with their colour: red where x > 2 cm."""
    rng = np.random.default_rng(seed)
    half = np.array([0.04, 0.02, 0.02])
    point = rng.uniform(-half, half, (900, 3))
    face = rng.integers(3, size=900)
    point[np.arange(900), face] = half[face] * rng.choice([-1, 1], 900)
    return point


def _look(way: np.ndarray, away: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """A camera that looks at the origin from `way`."""
    back = way / np.linalg.norm(way)
    side = np.cross(np.eye(3)[np.abs(back).argmin()], back)
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(back, side), back], axis=1), back * away


def _seen(
    way: np.ndarray, colour_of=lambda hit: np.stack([hit[..., 0] > 0.02, hit[..., 0] <= 0.02, 0 * hit[..., 0]], -1)
) -> SeenFrom:
    """The box by rays: the slab method, one ray per pixel's middle."""
    rotation, place = _look(way)
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    ray = np.stack([(u - SIZE / 2) / FOCAL, -(v - SIZE / 2) / FOCAL, -np.ones_like(u)], -1) @ rotation.T
    with np.errstate(divide="ignore"):
        ends = (np.array([[-1], [1]]) * [0.04, 0.02, 0.02] - place)[:, None, None] / ray
    near, far = ends.min(0).max(-1), ends.max(0).min(-1)
    depth = np.where((near <= far) & (near > 0), near, np.inf)
    hit = place + ray * np.where(np.isfinite(depth), depth, 0.0)[..., None]
    colour = np.where(np.isfinite(depth)[..., None], colour_of(hit).astype(float), 0.5)
    return SeenFrom(rotation, place, FOCAL, depth, colour)


@pytest.mark.parametrize("way", [(1, 0, 0), (0, -1, 0), (0, 0, 1), (1, 1, 1)])
def test_a_point_is_visible_where_its_face_looks_at_the_camera(way: tuple[int, int, int]) -> None:
    point, view = _box(), _seen(np.array(way, float))
    half = np.array([0.04, 0.02, 0.02])
    normal = np.where(np.isclose(np.abs(point), half), np.sign(point), 0.0)
    faces = ((view.place - point) * normal > 1e-4).any(axis=1)
    agree = visible(point, view, slack=0.002) == faces
    # but at edges, where a pixel shows two faces
    assert agree.mean() > 0.9
    away = ((view.place - point) * normal).sum(axis=1) < -1e-3
    # a point that is turned away passes within the slack of an edge alone
    half_slack = np.sort(np.abs(np.abs(point) - half), axis=1)[:, 1] < 0.004
    assert away.sum() > 300 and not (visible(point, view, slack=0.002) & away & ~half_slack).any()


def test_a_whole_mask_gives_just_the_visible_points_and_an_empty_one_none() -> None:
    point, view = _box(), _seen(np.array([1.0, 2, 1]))
    assert (back_projected(point, view, np.ones((SIZE, SIZE), bool)) == visible(point, view)).all()
    assert not back_projected(point, view, np.zeros((SIZE, SIZE), bool)).any()


def test_points_behind_the_camera_or_beside_its_picture_are_not_seen() -> None:
    view = _seen(np.array([0.0, 0, 1]))
    point = np.array([[0, 0, 0.5], [1.0, 0, 0], [0, 0, 0.2], [0, 0, 0.02]])
    assert visible(point, view).tolist() == [False, False, False, True]
    assert pixels_of(point, view)[2][0] < 0


def test_the_picture_under_a_full_mask_stays_as_it_is() -> None:
    colour = np.random.default_rng(0).random((20, 20, 3))
    assert (blurred_outside(colour, np.ones((20, 20), bool)) == colour).all()
    half = np.zeros((20, 20), bool)
    half[:, :10] = True
    soft = blurred_outside(colour, half)
    assert (soft[:, :10] == colour[:, :10]).all() and soft[:, 10:].std() < 0.3 * colour.std()


def test_masks_that_are_alike_too_large_or_empty_go() -> None:
    def square(size: int) -> np.ndarray:
        mask = np.zeros((20, 20), bool)
        mask[:size, :size] = True
        return mask

    kept = without_doubles([square(4), square(9), square(10), square(0), square(19)])
    assert [int(mask.sum()) for mask in kept] == [100, 16]


def _by_colour(colour: np.ndarray) -> list[np.ndarray]:
    return [np.isclose(colour, shade).all(-1) for shade in np.unique(colour.reshape(-1, 3).round(6), axis=0)]


def _redness(picture: np.ndarray, sentence: str) -> float:
    assert sentence == "the red end should not be touched"
    sharp = (picture == picture.round()).all(-1)
    return float((picture[sharp] @ [1.0, -1.0, -1.0]).mean()) if sharp.any() else -1.0


def test_the_part_that_is_described_is_found_on_all_its_seen_sides() -> None:
    point = _box()
    ways = np.concatenate([np.eye(3), -np.eye(3)])
    views = [_seen(way) for way in ways]
    found = negative_points(point, views, _by_colour, _redness, "the red end should not be touched", 0.0)
    true = point[:, 0] > 0.02
    assert (found & true).sum() / (found | true).sum() > 0.85
    anywhere = np.random.default_rng(1).permutation(true)
    assert (found & true).sum() / (found | true).sum() > (anywhere & true).sum() / (anywhere | true).sum() + 0.2
    assert not negative_points(point, views, _by_colour, _redness, None).any()
    # as published, a view that does not show the part names another
    assert negative_points(point, views[3:4], _by_colour, _redness, "the red end should not be touched").any()
    order = np.random.default_rng(2).permutation(len(point))
    again = negative_points(point[order], views[::-1], _by_colour, _redness, "the red end should not be touched", 0.0)
    assert (again == found[order]).all()
