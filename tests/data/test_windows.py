"""Windows of demonstrations: where they start, what they hold, which are held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embodkd.data.windows import ChunkSource, chunks_of, windows


def listed(lengths: list[int], horizon: int, execute: int) -> list[tuple[int, int]]:
    """The same by a slow loop: (first frame, last frame of the episode)."""
    found, begin = [], 0
    for length in lengths:
        for start in range(length):
            repeats = max(0, start + horizon - length)
            if repeats <= execute - 1:
                found.append((begin + start, begin + length - 1))
        begin += length
    return found


def frames(lengths: list[int]) -> dict[str, np.ndarray]:
    count = sum(lengths)
    return {
        "robot": np.arange(count * 2, dtype=np.float32).reshape(count, 2),
        "front_rgb": np.zeros((count, 3, 4, 4), np.uint8),
    }


def source(lengths: list[int], horizon: int = 6, execute: int = 2) -> ChunkSource:
    action = np.arange(sum(lengths), dtype=np.float32)[:, None] * [1.0, 10.0]
    return ChunkSource(frames(lengths), action.astype(np.float32), windows(lengths, horizon, execute), horizon)


def test_an_episode_of_100_steps_has_76_windows_and_the_last_repeats_7_times() -> None:
    found = windows([100], 32, 8)
    assert found.first_W.tolist() == list(range(76)) and set(found.last_W) == {99}
    frame_H = np.minimum(found.first_W[-1] + np.arange(32), 99)
    assert (frame_H == 99).sum() == 1 + 7


@pytest.mark.parametrize("lengths", [[100], [3, 24, 25, 40], [1, 1, 60, 2], [24, 24]])
@pytest.mark.parametrize("horizon, execute", [(32, 8), (8, 8), (1, 1), (8, 4)])
def test_windows_are_those_that_repeat_the_last_action_less_than_execute_times(lengths, horizon, execute) -> None:
    assert list(zip(*windows(lengths, horizon, execute), strict=True)) == listed(lengths, horizon, execute)


def test_there_are_24_windows_less_per_episode_than_frames() -> None:
    lengths = np.random.default_rng(0).integers(30, 200, 50)
    assert len(windows(lengths, 32, 8).first_W) == lengths.sum() - 24 * 50


def test_a_batch_holds_what_was_seen_and_the_actions_of_the_same_episode() -> None:
    lengths = [9, 3, 7]
    batch = source(lengths).gather(np.arange(source(lengths).size()), 0)
    first = batch["sample_id"].numpy()
    assert first.tolist() == [0, 1, 2, 3, 4, 12, 13, 14]
    np.testing.assert_array_equal(batch["robot"].numpy(), frames(lengths)["robot"][first])
    assert batch.action_NHA.shape == (8, 6, 2) and batch.action_NHA.dtype == torch.float32
    assert batch.action_NHA[4, :, 0].tolist() == [4, 5, 6, 7, 8, 8]
    assert batch.action_NHA[7, :, 1].tolist() == [140, 150, 160, 170, 180, 180]


def test_pictures_are_not_copied_until_a_batch_shows_them() -> None:
    given = frames([50])
    chosen = windows([50], 6, 2)
    data = ChunkSource(given, np.zeros((50, 2), np.float32), chosen, 6)
    assert data.frames["front_rgb"] is given["front_rgb"]
    assert data.gather(np.array([3]), 0)["front_rgb"].shape == (1, 3, 4, 4)


def test_five_percent_of_the_windows_are_held_out_whatever_their_episode() -> None:
    lengths = [100] * 10
    action = np.zeros((1000, 2), np.float32)
    parts = [chunks_of(frames(lengths), action, lengths, horizon=32, execute=8, seed=s) for s in (0, 0, 1)]
    ids = [[p.gather(np.arange(p.size()), 0)["sample_id"].numpy() for p in chunks] for chunks in parts]
    assert len(ids[0][1]) == 38 and sorted(np.concatenate(ids[0])) == [
        t + 100 * e for e in range(10) for t in range(76)
    ]
    assert len(set(ids[0][1] // 100)) > 5
    np.testing.assert_array_equal(ids[0][1], ids[1][1])
    assert set(ids[0][1]) != set(ids[2][1])


def test_demonstrations_too_short_for_one_window_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 24 steps, the longest has 20"):
        chunks_of(frames([20, 9]), np.zeros((29, 2), np.float32), [20, 9], horizon=32, execute=8)
    with pytest.raises(ValueError, match="execute=9, horizon=8"):
        windows([20], 8, 9)
