"""Rooms: rays against one at a time, cameras against the renderer's, the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.data import make_data
from embodkd.data.views.rays import PATTERNS, Scene, cast, rays_of
from embodkd.parts.splats.project import Gaussians, Pinhole, project

SMALL = {"size": 16, "train": 6, "validation": 2, "test": 2, "points": 200}


def scene(rng: np.random.Generator) -> Scene:
    low = rng.uniform(0, 3, (4, 3))
    boxes = np.stack([low, low + rng.uniform(0.2, 1.0, (4, 3))], 1)
    balls = np.concatenate([rng.uniform(0.5, 3.5, (2, 3)), rng.uniform(0.1, 0.4, (2, 1))], 1)
    return Scene(
        np.array([[0.0, 0, 0], [4, 4, 4]]), boxes, balls, rng.integers(len(PATTERNS), size=12),
        rng.uniform(0, 1, (12, 2, 3)), rng.uniform(0.5, 2, 12),
    )  # fmt: skip


def first_met(world: Scene, origin: np.ndarray, ray: np.ndarray) -> float:
    """How far away what a ray meets first is: every side of every box as a rectangle, every ball by its equation."""
    found = []
    for box in (world.shell, *world.boxes):
        for axis in range(3):
            for side in range(2):
                time = (box[side, axis] - origin[axis]) / ray[axis]
                at = origin + time * ray
                others = [a for a in range(3) if a != axis]
                if time > 1e-9 and all(box[0, a] <= at[a] <= box[1, a] for a in others):
                    found.append(time)
    for x, y, z, radius in world.balls:
        away = origin - [x, y, z]
        found += [
            t.real for t in np.roots([ray @ ray, 2 * ray @ away, away @ away - radius**2]) if t.imag == 0 and t.real > 0
        ]
    return min(found)


@given(st.integers(0, 2**16))
def test_rays_meet_what_is_nearest(seed: int):
    rng = np.random.default_rng(seed)
    world = scene(rng)
    origin = rng.uniform(0.1, 3.9, 3)
    inside = (world.boxes[:, 0] < origin) & (origin < world.boxes[:, 1])
    if inside.all(1).any() or (np.linalg.norm(world.balls[:, :3] - origin, axis=1) < world.balls[:, 3]).any():
        return
    rays = rng.standard_normal((20, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    colour, place = cast(world, origin, rays)
    wanted = [first_met(world, origin, ray) for ray in rays]
    np.testing.assert_allclose(np.linalg.norm(place - origin, axis=1), wanted, rtol=1e-9)
    assert (colour >= 0).all() and (colour <= 1).all()


def test_what_a_pixel_shows_is_projected_to_its_centre():
    """The ray caster's cameras are those of the renderer."""
    data = make_data("rooms", seed=3, **SMALL)
    pose, inner = data.train.fields["pose"][0].double(), data.train.fields["intrinsics"][0].double()
    rays = rays_of(pose.numpy(), inner.numpy(), 16, 16, 1)
    depth = torch.from_numpy(np.random.default_rng(0).uniform(1, 5, (256, 1)))
    points = pose[:3, 3] + depth * torch.from_numpy(rays)
    unit = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64).expand(256, 4)
    splats = Gaussians(points, torch.ones(256, 3).double(), unit, torch.ones(256).double(), torch.ones(256, 3).double())
    found = project(splats, Pinhole(pose, inner, 16, 16)).mean.view(16, 16, 2)
    wanted = torch.stack(torch.meshgrid(*[torch.arange(16).double() + 0.5] * 2, indexing="xy"), -1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_rooms_are_a_function_of_the_seed_and_cameras_are_right_angled():
    first, again, other = (make_data("rooms", seed=seed, **SMALL) for seed in (0, 0, 1))
    for name, data in first.parts().items():
        for field, values in data.fields.items():
            assert torch.equal(values, again.part(name).fields[field])
        assert not torch.equal(data.fields["image"], other.part(name).fields["image"])
        turn = data.fields["pose"][:, :3, :3]
        torch.testing.assert_close(turn @ turn.mT, torch.eye(3).expand_as(turn), rtol=0, atol=1e-5)
        assert (torch.linalg.det(turn) > 0.99).all()
        torch.testing.assert_close(data.fields["share"].sum(1), torch.ones(data.size()))
    assert torch.equal(first.points, again.points)
    low, high = (torch.tensor(corner) for corner in first.box)
    assert ((first.points > low - 1e-4) & (first.points < high + 1e-4)).all()


def test_some_views_see_more_than_one_room_and_the_band_is_as_wide_as_asked():
    narrow, wide = (make_data("rooms", seed=0, band=band, **SMALL) for band in (0.1, 0.5))
    assert ((narrow.train.fields["share"] > 0.1).sum(1) > 1).any()
    assert (wide.train.fields["seam"] | ~narrow.train.fields["seam"]).all()
    assert wide.train.fields["seam"].sum() > narrow.train.fields["seam"].sum() > 0
    assert not make_data("rooms", along=1, across=1, **SMALL).train.fields["seam"].any()


def test_blank_rooms_have_the_same_shapes():
    full, blank = (make_data("rooms", blank=flag, **SMALL) for flag in (False, True))
    assert blank.facts() == full.facts() and not blank.train.fields["image"].any()
    for name, values in full.train.fields.items():
        assert blank.train.fields[name].shape == values.shape and blank.train.fields[name].dtype == values.dtype


@pytest.mark.parametrize("wrong", [{"along": 0}, {"size": 8}, {"band": 0.0}])
def test_options_are_held_to_their_ranges(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make_data("rooms", **{**SMALL, **wrong})
