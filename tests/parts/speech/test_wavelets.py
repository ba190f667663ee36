"""Contours of pitch there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embodkd.parts.speech.wavelets import contour, inverse, transformed


def voice(seed: int, frames: int = 220) -> np.ndarray:
    """Hz that fall and swing, with stretches without voice."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / frames
    hz = (
        150
        - 40 * time
        + 20 * np.sin(2 * np.pi * (2 * time + rng.random()))
        + 8 * np.sin(2 * np.pi * (7 * time + rng.random()))
    )
    silent = rng.integers(10, frames - 30)
    hz[silent : silent + 15] = 0.0
    return hz


@pytest.mark.parametrize("seed", range(8))
def test_there_and_back_a_contour_is_like_itself(seed: int) -> None:
    hz = voice(seed)
    y, mean, deviation = contour(hz)
    found = inverse(
        torch.from_numpy(transformed(y))[None], torch.ones(1, len(y), dtype=torch.bool),
        torch.tensor([mean], dtype=torch.double), torch.tensor([deviation], dtype=torch.double),
    )[0].log().numpy()  # fmt: skip
    true = y * deviation + mean
    assert np.corrcoef(found, true)[0, 1] > 0.98
    assert found.mean() == pytest.approx(mean) and found.std() == pytest.approx(deviation)


def test_another_register_changes_the_mean_alone() -> None:
    hz = voice(3)
    y, mean, deviation = contour(hz)
    # interpolation between voiced frames is of Hz, which a factor goes through
    higher, other, same = contour(hz * 1.5)
    np.testing.assert_allclose(higher, y, atol=1e-9)
    assert other == pytest.approx(mean + np.log(1.5)) and same == pytest.approx(deviation)
    np.testing.assert_allclose(transformed(higher), transformed(y), atol=1e-8)


def test_the_transform_is_a_sum_over_all_frequencies() -> None:
    y = np.random.default_rng(0).normal(size=11)
    size, found = 16, transformed(y)
    padded = np.concatenate([y, np.zeros(5)])
    for j in (0, 3, 9):
        scale = 0.01 * 2.0**j
        for t in (0, 6, 10):
            total = 0.0
            for k in range(size):
                w = 2 * np.pi * (k if k < 8 else k - 16) / (size * 0.005)
                first = 2 * np.pi / (size * 0.005)
                hat = (
                    np.sqrt(scale * first * size)
                    * (scale * w) ** 2
                    * np.exp(-((scale * w) ** 2) / 2)
                    / np.sqrt(1.329340388)
                )
                whole = sum(padded[n] * np.exp(-2j * np.pi * k * n / size) for n in range(size))
                total += (whole * hat * np.exp(2j * np.pi * k * t / size)).real / size
            assert found[t, j] == pytest.approx(total, abs=1e-7)


def test_frames_behind_the_end_change_nothing() -> None:
    w = torch.randn(1, 12, 10)
    mask = torch.arange(12)[None] < 9
    mean, spread = torch.tensor([5.0]), torch.tensor([0.2])
    found = inverse(w, mask, mean, spread)[:, :9]
    torch.testing.assert_close(found, inverse(w[:, :9], mask[:, :9], mean, spread))


def test_a_constant_pitch_has_no_contour() -> None:
    y, mean, deviation = contour(np.full(7, 100.0))
    assert np.abs(y).max() < 1e-9 and deviation == 0.0 and mean == pytest.approx(np.log(100))
