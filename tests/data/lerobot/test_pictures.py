"""Pictures that are decoded when looked at: they answer like the array that they stand for, within their memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from embodkd.data.lerobot import Memory, Pictures, cameras, read_dataset, resized

SHAPE, SIZE = (1, 2, 3), 6


def made(lengths: list[int], most: float) -> tuple[Pictures, np.ndarray, Memory, list[int]]:
    """(pictures, the array that they stand for, their memory, how many were decoded at each call)."""
    whole = np.random.default_rng(0).integers(0, 256, (sum(lengths), *SHAPE), dtype=np.uint8)
    memory, calls = Memory(most), []
    ends = np.cumsum(lengths)

    def decode(episode: int, frames: np.ndarray) -> np.ndarray:
        assert (np.diff(frames) > 0).all() and frames[-1] < lengths[episode]
        calls.append(len(frames))
        return whole[ends[episode] - lengths[episode] + frames]

    each = [lambda frames, e=e: decode(e, frames) for e in range(len(lengths))]
    return Pictures(SHAPE, lengths, each, memory), whole, memory, calls


@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=5),
    st.integers(0, 40),
    st.lists(st.lists(st.integers(0, 10**6), max_size=6), min_size=1, max_size=5),
)
def test_they_answer_like_the_array_and_keep_no_more_than_they_may(lengths, most, looks) -> None:
    pictures, whole, memory, _ = made(lengths, most * SIZE)
    for look in looks:
        index = np.array(look, int) % len(whole)
        np.testing.assert_array_equal(pictures[index], whole[index])
        kept = sum(values.nbytes for values in pictures._kept.values())
        assert kept == most * SIZE - memory.left <= most * SIZE


def test_what_fits_is_decoded_once_and_of_the_rest_only_what_is_looked_at() -> None:
    pictures, _, _, calls = made([4, 5], 4 * SIZE)
    for _ in range(3):
        pictures[np.array([1, 0, 2, 1])]
    assert calls == [4]
    pictures[np.array([8, 4, 8])]
    pictures[np.array([5])]
    assert calls == [4, 2, 1]


def test_cameras_and_joined_sets_share_one_memory() -> None:
    one, first, memory, _ = made([3, 3], 4 * SIZE)
    other, second, _, _ = made([2], 100 * SIZE)
    both = Pictures.joined([one, other])
    np.testing.assert_array_equal(both[:], np.concatenate([first, second]))
    assert memory.left == SIZE
    np.testing.assert_array_equal(one.chosen(np.array([1]))[:], first[3:])


def test_a_large_set_costs_nothing_until_it_is_looked_at() -> None:
    one = np.zeros((1, 3, 480, 640), np.uint8)
    pictures = Pictures((3, 480, 640), [500] * 40, [lambda frames: one] * 40, Memory(1e6))
    assert pictures.nbytes == 20_000 * 3 * 480 * 640 and pictures[19_999].shape == (3, 480, 640)


@pytest.mark.parametrize("size", [(4, 6), (3, 5), (16, 24), (8, 12)])
def test_a_new_pixel_is_the_mean_of_what_it_covers(size: tuple[int, int]) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (2, 3, 8, 12), dtype=np.uint8)
    slow = functional.interpolate(torch.from_numpy(pictures).double(), size, mode="area").numpy()
    assert np.abs(resized(pictures, size) - slow).max() <= 0.5 + 1e-6
    assert resized(pictures, (8, 12)) is pictures


def test_of_pictures_in_tables_each_group_of_rows_is_read_once_however_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    so101 = pytest.importorskip("so101", reason="needs pyarrow (extra: lerobot)")
    folder, read = so101.write(tmp_path / "arm", "image"), []
    mapped = cameras.mapped_column
    monkeypatch.setattr(cameras, "mapped_column", lambda *words: read.append(words[1]) or mapped(*words))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    pictures = read_dataset(folder, ["front"], memory=Memory(0)).frames["front"]
    for frame in (34, 0, 20, 34, 1, 3, 0, 30):
        assert so101.moment(pictures[frame], "front") == frame
    assert sorted(read) == [0, 1, 2] and not list((tmp_path / "copies").iterdir())


def test_no_room_for_the_copy_says_which_folder_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    so101 = pytest.importorskip("so101", reason="needs pyarrow (extra: lerobot)")
    folder = so101.write(tmp_path / "arm", "image", (3, 2))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="nowhere .*TMPDIR"):
        read_dataset(folder, ["front"])
