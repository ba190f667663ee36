"""Where something happens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embodkd.parts.vla.events import EventDetector, boundary_f1, changes, detected, event_loss, untrained


def _episodes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (N, 40, 6) that jump in the first two features at boundaries, and shake in the others all the time."""
    rng = np.random.default_rng(seed)
    seen, boundary = np.zeros((count, 40, 6)), np.zeros((count, 40), bool)
    for n in range(count):
        at = np.sort(rng.choice(np.arange(4, 36, 5), 3, replace=False))
        boundary[n, at] = True
        seen[n, :, :2] = 0.6 * np.cumsum(boundary[n])[:, None] * [1, -1]
    seen[..., 2:] = rng.normal(size=(count, 40, 4))
    return seen + 0.03 * rng.normal(size=seen.shape), boundary


def test_what_stands_still_does_not_change_and_a_jump_is_found_without_learning() -> None:
    still = np.ones((10, 3, 4, 4))
    assert not changes(still).any() and not untrained(still).any()
    still[6:] += 1
    assert np.flatnonzero(untrained(still)).tolist() == [6]


def test_matches_are_one_to_one_and_within_two_frames() -> None:
    true = np.zeros(20, bool)
    true[[5, 10]] = True

    def f1(*frames: int) -> float:
        return boundary_f1(np.isin(np.arange(20), frames), true)

    assert f1(5, 10) == f1(3, 12) == 1.0 and f1(2, 13) == 0.0
    assert f1(5) == pytest.approx(2 / 3) and f1(4, 5, 6) == pytest.approx(2 / 5)
    assert boundary_f1(np.zeros(5, bool), np.zeros(5, bool)) == 1.0


def test_a_learned_detector_ignores_what_shakes_all_the_time() -> None:
    torch.manual_seed(0)
    seen, boundary = _episodes(15, 0)
    detector = EventDetector(6, 16)
    optimiser = torch.optim.Adam(detector.parameters(), lr=1e-2)
    inputs, labels = torch.from_numpy(seen).float(), torch.from_numpy(boundary)
    for _ in range(80):
        optimiser.zero_grad()
        event_loss(detector(inputs), labels, torch.ones_like(labels)).mean().backward()
        optimiser.step()
    held_out, true = _episodes(20, 1)
    with torch.no_grad():
        told = detected(detector(torch.from_numpy(held_out).float()))
    learned = np.mean([boundary_f1(a, b) for a, b in zip(told, true, strict=True)])
    plain = np.mean([boundary_f1(untrained(a), b) for a, b in zip(held_out, true, strict=True)])
    assert learned > 0.7 and learned > plain + 0.2


def test_padding_does_not_count() -> None:
    logits, label = torch.randn(2, 6), torch.rand(2, 6) > 0.7
    there = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], dtype=torch.bool)
    other = torch.where(there, logits, 50.0)
    assert torch.allclose(event_loss(logits, label, there), event_loss(other, label, there))
