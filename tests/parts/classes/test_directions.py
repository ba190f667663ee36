"""Directions: what a projector removes, where a cloud varies, turns that keep lengths."""

import numpy as np
import pytest
import torch

from embodkd.parts.classes.directions import null_projector, principal_directions, random_directions, random_rotation

N, D, C = 40, 9, 3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, atol=tolerance, rtol=0)


def test_the_null_projector_removes_what_the_layer_reads_and_nothing_else():
    weight = draw(C, D)
    project = null_projector(weight.float())
    close(project @ project, project), close(project, project.T)
    close(weight.float().double() @ project, torch.zeros(C, D, dtype=torch.float64))
    assert round(float(project.trace())) == D - C
    x = draw(D)
    still = x - torch.linalg.lstsq(weight.float().double().T, x[:, None]).solution.T[0] @ weight.float().double()
    close(project @ x, still)


def test_a_layer_of_lower_rank_leaves_more_and_one_that_reads_all_leaves_everything():
    weight = draw(C, D)
    weight[2] = weight[0] - weight[1]
    assert round(float(null_projector(weight).trace())) == D - 2
    close(null_projector(draw(D + 2, D)), torch.eye(D, dtype=torch.float64))


def test_principal_directions_are_the_covariances_eigenvectors():
    rows = draw(N, D) * torch.linspace(1, 3, D)
    rows -= rows.mean(0)
    found = principal_directions(rows, 4, "here")
    values, vectors = np.linalg.eigh((rows.T @ rows).numpy())
    for k in range(4):
        expected = vectors[:, D - 1 - k]
        assert abs(found[k].numpy() @ expected) == pytest.approx(1.0)
    close(found @ found.T, torch.eye(4, dtype=torch.float64))
    variances = (rows @ found.T).square().sum(0)
    assert (variances[:-1] > variances[1:]).all()
    close(principal_directions(rows.flip(0), 4, "here"), found)


def test_more_directions_than_there_is_variance_in_are_an_error():
    rows = draw(N, 2) @ draw(2, D)
    with pytest.raises(ValueError, match="class 3: 40 items vary in 2 directions, 5 are asked for"):
        principal_directions(rows, 5, "class 3")
    with pytest.raises(ValueError, match="0 items"):
        principal_directions(rows[:0], 1, "class 3")
    with pytest.raises(ValueError, match="7 directions are asked for in a space of 6"):
        random_directions(7, null_projector(draw(C, D)), 0)


def test_random_directions_are_orthonormal_in_the_space_and_follow_their_key():
    project = null_projector(draw(C, D))
    found = random_directions(4, project, 1, 2)
    close(found @ found.T, torch.eye(4, dtype=torch.float64))
    close(found @ project, found)
    assert torch.equal(found, random_directions(4, project, 1, 2))
    assert not torch.equal(found, random_directions(4, project, 1, 3))


def test_a_random_rotation_keeps_lengths_and_favours_no_axis():
    turned = random_rotation(5, 0)
    close(turned @ turned.T, torch.eye(5, dtype=torch.float64))
    mean = torch.stack([random_rotation(5, seed) for seed in range(400)]).mean(0)
    assert mean.abs().max() < 0.1
