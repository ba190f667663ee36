"""Windows of demonstrations: where they start, what they hold, which are held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.data.windows import Chunks, ChunkSource, chunks_of, windows


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


def seen_by(part: ChunkSource, horizon: int) -> set[int]:
    """The frames that its windows show, by a slow loop."""
    return {
        min(first + k, last)
        for first, last in zip(*(ends.tolist() for ends in part.windows), strict=True)
        for k in range(horizon)
    }


def split(lengths: list[int], horizon: int = 6, execute: int = 2, **options) -> Chunks:
    action = np.arange(sum(lengths), dtype=np.float32)[:, None]
    return chunks_of(frames(lengths), action, lengths, horizon=horizon, execute=execute, **options)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(1, 8).flatmap(lambda h: st.tuples(st.just(h), st.integers(1, h))),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_nothing_that_is_held_out_is_shown_in_training(lengths, sizes, share, seed) -> None:
    horizon, execute = sizes
    long_enough = [n for n in lengths if n > horizon - execute]
    try:
        train, apart, said = split(lengths, horizon, execute, held_out=share, seed=seed)
    except ValueError as error:
        assert not long_enough or (len(long_enough) == 1 and "only one episode" in str(error))
        return
    assert train.size() and apart.size() and not seen_by(train, horizon) & seen_by(apart, horizon)
    obs, action_FA = train.shown(["robot"])
    assert action_FA[:, 0].astype(int).tolist() == sorted(seen_by(train, horizon))
    np.testing.assert_array_equal(obs["robot"], frames(lengths)["robot"][action_FA[:, 0].astype(int)])
    if len(long_enough) > 1:
        episodes = [set(part.windows.last_W) for part in (train, apart)]
        assert not episodes[0] & episodes[1] and len(episodes[0] | episodes[1]) == len(long_enough)
        assert train.size() + apart.size() == len(listed(lengths, horizon, execute))
    assert ("not used" in said) == (len(long_enough) < len(lengths))


def test_a_share_of_the_episodes_is_held_out_at_random_by_the_seed() -> None:
    parts = [split([30] * 20, held_out=0.2, seed=s) for s in (0, 0, 1)]
    apart = [set(p.held_out.windows.last_W) for p in parts]
    assert len(apart[0]) == 4 and apart[0] == apart[1] != apart[2]
    assert parts[0].said.startswith(
        "4 of 20 episodes are held out, 104 of 520 windows; 1% of the actions to learn repeat"
    )


def test_one_episode_holds_out_its_last_windows_behind_a_gap_of_one_horizon() -> None:
    train, apart, said = split([3, 50, 2], held_out=0.1)
    # 46 windows from frame 3 on; the last 5 begin at 44, and 6 frames before that the last of the others.
    assert apart.windows.first_W.tolist() == list(range(44, 49)) and train.windows.first_W.max() == 38
    assert said.startswith("one episode: its last 5 windows") and "2 shorter than 5 steps" in said


def test_what_is_particular_to_an_episode_is_not_learned_from_its_neighbouring_windows() -> None:
    """Twenty episodes with a habit that shows in every action: the nearest training frame must not know it."""
    rng, lengths = np.random.default_rng(0), [40] * 20
    habit_F = np.repeat(rng.normal(size=20), 40)
    seen = {"robot": (np.arange(800) % 40 + 100.0 * np.repeat(np.arange(20), 40))[:, None].astype(np.float32)}
    data = chunks_of(seen, habit_F[:, None].astype(np.float32), lengths, horizon=8, execute=4, held_out=0.2)
    train, apart = (p.gather(np.arange(p.size()), 0) for p in (data.train, data.held_out))
    nearest_N = (apart["robot"] - train["robot"].T).abs().argmin(1)
    error = (train.action_NHA[nearest_N] - apart.action_NHA).square().mean()
    assert error > 0.5 * habit_F.var()


def test_demonstrations_too_short_for_one_window_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 24 steps, the longest has 20"):
        split([20, 9], 32, 8)
    with pytest.raises(ValueError, match="only one episode has windows .* 16 of them.*another episode of more than 24"):
        split([40, 12, 12, 12, 20], 32, 8)
    with pytest.raises(ValueError, match="execute=9, horizon=8"):
        windows([20], 8, 9)
    with pytest.raises(ValueError, match="held_out is a share of the episodes"):
        split([20, 20], held_out=1.0)


def test_actions_beyond_an_episodes_end_can_be_masked_and_then_every_step_begins_a_window() -> None:
    lengths, horizon = [9, 3, 1], 6
    action = np.arange(13, dtype=np.float32)[:, None]
    data = ChunkSource(frames(lengths), action, windows(lengths, horizon, 6, mask=True), horizon, mask=True)
    batch = data.gather(np.arange(data.size()), 0)
    assert batch["sample_id"].tolist() == list(range(13))
    left = [min(horizon, n - start) for n in lengths for start in range(n)]
    assert batch["kept"].sum(1).tolist() == left
    shown = [batch.action_NHA[row, : left[row], 0].tolist() for row in range(13)]
    assert shown == [list(range(row, row + left[row])) for row in range(13)]
    assert data.padding == pytest.approx(1 - sum(left) / (13 * horizon))


def test_how_much_is_padding_is_said_and_short_episodes_are_counted() -> None:
    said = chunks_of(frames([12] * 4), np.zeros((48, 1), np.float32), [12] * 4, horizon=8, execute=8).said
    assert "29% of the actions to learn repeat" in said
    said = split([12, 12, 3], 8, 4).said
    assert "1 shorter than 5 steps have no window and are not used" in said
    assert "repeat" not in split([12, 12], 8, 8, mask=True).said
