"""Rotations as six numbers; the numbers were computed independently in float64."""

from __future__ import annotations

import numpy as np
import pytest
from embodkd.envs.geometry import (
    matrix_from_quat,
    matrix_from_rot6d,
    quat_from_rotvec,
    rot6d_from_matrix,
)

ABOUT_Z_60 = np.array([[0.0, 0.0, np.pi / 3]])


def close(a: np.ndarray, b: object) -> None:
    np.testing.assert_allclose(a, b, atol=2e-6)


def turns(count: int = 50) -> np.ndarray:
    """Rotation vectors of up to 3 rad, (count, 3)."""
    vector = np.random.default_rng(0).normal(size=(count, 3))
    return vector / np.linalg.norm(vector, axis=1, keepdims=True) * np.linspace(0, 3, count)[:, None]


def test_six_numbers_are_the_first_two_rows() -> None:
    matrix = matrix_from_quat(np.array([[4.0, 1.0, 2.0, 3.0]]) / np.sqrt(30))
    close(rot6d_from_matrix(matrix), [[0.133333, -0.666667, 0.733333, 0.933333, 0.333333, 0.133333]])
    close(rot6d_from_matrix(matrix)[0], matrix[0, :2].ravel())
    close(rot6d_from_matrix(matrix_from_quat(quat_from_rotvec(ABOUT_Z_60))), [[0.5, -0.866025, 0, 0.866025, 0.5, 0]])


def test_decoding_is_gram_schmidt_and_ignores_scale() -> None:
    six = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    rows = [[0.267261, 0.534522, 0.801784], [0.872872, 0.218218, -0.436436], [-0.408248, 0.816497, -0.408248]]
    close(matrix_from_rot6d(six), [rows])
    close(matrix_from_rot6d(2.5 * six), [rows])


@pytest.mark.parametrize("shape", [(), (50,), (5, 10)])
def test_decoding_inverts_encoding_in_batches_of_any_shape(shape: tuple[int, ...]) -> None:
    matrix = matrix_from_quat(quat_from_rotvec(turns()[: int(np.prod(shape))])).reshape(*shape, 3, 3)
    six = rot6d_from_matrix(matrix)
    assert six.shape == (*shape, 6)
    np.testing.assert_allclose(matrix_from_rot6d(six), matrix, atol=1e-12)
