"""The closed forms of Bullet's cameras against MuJoCo's own rays."""

import mujoco
import numpy as np
import pytest
from embodkd.envs.bullet import rays
from embodkd.envs.bullet.scene import KINDS
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec


@pytest.mark.parametrize("kind", KINDS)
def test_rays_hit_where_mujocos_do(kind):
    geom = int(getattr(mujoco.mjtGeom, f"mjGEOM_{kind.upper()}"))
    rng, number, seen = np.random.default_rng(1), np.array([KINDS.index(kind)]), 0
    for _ in range(20):
        size, centre, out = rng.uniform(0.1, 0.6, 3), rng.uniform(-0.5, 0.5, 3), rng.normal(size=3)
        rotation = matrix_from_quat(quat_from_rotvec(rng.normal(size=3)))
        origin = centre + 2.0 * out / np.linalg.norm(out)
        vectors = (centre - origin) + rng.normal(scale=0.5, size=(40, 3))
        found = rays.cast(origin, vectors, number, size[None], centre[None], rotation[None])
        for vector, distance, shape, normal in zip(vectors, *found, strict=True):
            expected_normal = np.zeros(3)
            expected = mujoco.mju_rayGeom(centre, rotation.ravel(), size, origin, vector, geom, expected_normal)
            assert (shape >= 0) == (expected >= 0)
            np.testing.assert_allclose(distance, expected, atol=1e-9)
            np.testing.assert_allclose(normal, expected_normal, atol=1e-6)
            seen += expected >= 0
    assert 200 < seen < 780


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_ray_from_inside_a_shape_does_not_see_it(kind):
    vectors, origin = np.random.default_rng(0).normal(size=(200, 3)), np.array([0.01, 0.0, 0.25])
    size, centre, rotation = np.full((1, 3), 0.3), np.zeros((1, 3)), np.eye(3)[None]
    distance, shape, _ = rays.cast(origin, vectors, np.array([kind]), size, centre, rotation)
    assert (shape == -1).all() and (distance == -1).all()


def test_the_nearest_of_several_shapes_is_seen():
    centres = np.array([[0.0, 0.0, 3.0], [0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [5.0, 0.0, 1.0]])
    sizes, rotations = np.full((4, 3), 0.25), np.tile(np.eye(3), (4, 1, 1))
    vectors = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, -1.0], [5.0, 0.0, 1.0]])
    distance, shape, normal = rays.cast(np.zeros(3), vectors, np.arange(4), sizes, centres, rotations)
    assert shape.tolist() == [1, -1, 3]
    np.testing.assert_allclose(distance[:2], [1.5, -1.0])
    np.testing.assert_allclose(normal[:2], [[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]], atol=1e-12)
