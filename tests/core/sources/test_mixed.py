"""A mixture has so much of each source as its weights say, each item as its source gives it, in a fixed order."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Mixed, Ragged, Signals, Source, Stage, TensorData


def numbers(size, start=0, **fields):
    values = {"input": np.arange(start, start + size, dtype=np.float32)}
    return TensorData({**values, **{name: np.full((size, 2), v, np.float32) for name, v in fields.items()}})


class Seen(Source):
    """Notes with which epoch it was asked; grows where it says so."""

    def __init__(self, size, refresh="never", grows=0):
        self.refresh, self._size, self._grows = refresh, size, grows
        self.refills, self.asked, self.files = [], Counter(), []

    def size(self):
        return self._size + self._grows * len(self.refills)

    def planned_size(self, refill):
        return self._size + self._grows * (1 if self.refresh == "never" else refill + 1)

    def gather(self, index, epoch):
        self.asked.update((int(k), epoch) for k in index)
        return Signals(sample_id=torch.from_numpy(np.asarray(index, np.int64)))

    def refill(self, refill):
        self.refills.append(refill)
        return {"got": float(refill)}

    def save(self, folder):
        self.files.append(("save", folder.name))

    def tidy(self, folder):
        self.files.append(("tidy", folder.name))

    def restore(self, folder, refills):
        self.files.append((refills, folder.name))


SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@given(SIZES, st.data())
def test_a_pass_has_so_many_of_each_as_the_weights_say(sizes, data):
    weights = data.draw(st.lists(st.floats(0.01, 10), min_size=len(sizes), max_size=len(sizes)))
    total = data.draw(st.integers(1, 40))
    sources = {f"s{k}": numbers(size, 100 * k) for k, size in enumerate(sizes)}
    mixed = Mixed(sources, dict(zip(sources, weights, strict=True)), size=total)
    assert mixed.size() == total == mixed.planned_size(3)
    batch = mixed.gather(np.arange(total), 0)
    for k, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        mine = batch["source"] == k
        count = int(mine.sum())
        assert abs(count - total * weight / sum(weights)) < 1
        own = batch["input"][mine] - 100 * k
        assert torch.equal(batch["sample_id"][mine], own.long() * len(sizes) + k)
        times = torch.bincount(own.long(), minlength=size)
        assert len(times) == size and times.max() - times.min() <= 1, "no item twice before all came once"


@given(SIZES, st.integers(0, 9), st.data())
def test_an_item_depends_on_its_place_epoch_and_seed_alone(sizes, seed, data):
    sources = {f"s{k}": numbers(size, 100 * k) for k, size in enumerate(sizes)}
    mixed = Mixed(sources, dict.fromkeys(sources, 1.0), seed=seed)
    index = np.array(data.draw(st.lists(st.integers(0, mixed.size() - 1), min_size=1, max_size=9)))
    epoch = data.draw(st.integers(0, 5))
    whole = mixed.gather(np.arange(mixed.size()), epoch)
    part = Mixed(sources, dict.fromkeys(sources, 1.0), seed=seed).gather(index, epoch)
    assert all(torch.equal(part[name], whole[name][torch.from_numpy(index)]) for name in whole)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 6))
def test_over_many_passes_each_item_comes_as_often_and_learns_which_pass_over_it_this_is(size, other, total, passes):
    a, b = Seen(size), Seen(other)
    mixed = Mixed({"a": a, "b": b}, {"a": 1.0, "b": 3.0}, size=total)
    b.asked.clear()
    for epoch in range(passes):
        mixed.gather(np.random.default_rng(epoch).permutation(total), epoch)
    b.asked[0, 0] -= 1  # the one that was looked at for its fields
    count = sum(b.asked.values())
    assert all(times == 1 for times in (+b.asked).values()), "an item once per turn"
    turns = [turn for _, turn in +b.asked]
    assert Counter(turns) == Counter(k // other for k in range(count))


def test_without_weights_a_pass_has_every_item_once():
    mixed = Mixed({"a": numbers(5), "b": numbers(3, 100)})
    batch = mixed.gather(np.arange(8), 2)
    assert sorted(batch["input"].tolist()) == [0, 1, 2, 3, 4, 100, 101, 102]


def test_fields_that_only_some_sources_have_are_told_apart_from_zeros():
    mixed = Mixed({"a": numbers(4, depth=0.0), "b": numbers(4, 100)})
    for index in (np.arange(8), np.array([6, 5]), np.array([0])):
        batch = mixed.gather(index, 0)
        assert set(batch) == {"input", "sample_id", "depth", "has_depth", "source"}
        assert torch.equal(batch["has_depth"], batch["source"] == 0)
        assert batch["depth"].shape == (len(index), 2) and batch["depth"].eq(0).all()


def test_items_of_different_lengths_are_padded_to_the_longest_of_both():
    a = Ragged({"tokens": [[1], [2, 3]]}, padding={"tokens": 9})
    b = Ragged({"tokens": [[4, 5, 6, 7]]}, padding={"tokens": 9})
    mixed = Mixed({"a": a, "b": b, "c": numbers(1)}, padding={"tokens": 9, "tokens_mask": 0})
    batch = mixed.gather(np.arange(4), 0)
    assert batch["tokens"].shape == batch["tokens_mask"].shape == (4, 4)
    texts = [row[mask].tolist() for row, mask in zip(batch["tokens"], batch["tokens_mask"], strict=True)]
    assert sorted(texts) == [[], [1], [2, 3], [4, 5, 6, 7]]
    assert batch["tokens"][~batch["tokens_mask"]].eq(9).all()
    assert torch.equal(batch["has_tokens"], batch["source"] < 2)
    with pytest.raises(ValueError, match=r"field 'tokens': an item of a is torch.int64 \(1,\), one of b .*\(4,\)"):
        Mixed({"a": a, "b": b}).gather(np.arange(2), 0)


@pytest.mark.parametrize(("refresh", "refills"), [("never", [0]), ("epoch", [0, 1, 2]), ("step", [0, 1, 2])])
def test_each_source_is_refilled_as_it_says(refresh, refills, tmp_path):
    a, b = Seen(3), Seen(2, refresh, grows=4)
    mixed = Mixed({"a": a, "b": b}, {"a": 1.0, "b": 1.0})
    assert mixed.refresh == refresh
    for refill in range(1 if refresh == "never" else 3):
        said = mixed.refill(refill)
        assert mixed.size() == mixed.planned_size(refill) == 3 + 2 + 4 * (refill + 1)
        assert said["b/got"] == refill and ("a/got" in said) == (refill == 0)
    assert a.refills == [0] and b.refills == refills
    mixed.save(tmp_path)
    mixed.tidy(tmp_path)
    mixed.restore(tmp_path, len(refills))
    mixed.restore(tmp_path, 0)
    assert a.files == [("save", "a"), ("tidy", "a"), (1, "a"), (0, "a")]
    assert b.files == [("save", "b"), ("tidy", "b"), (len(refills), "b"), (0, "b")]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="weights: one for each of a, b, got a"):
        Mixed({"a": numbers(1), "b": numbers(1)}, {"a": 1.0})
    with pytest.raises(ValueError, match="at least 0 and not all"):
        Mixed({"a": numbers(1)}, {"a": 0.0})
    with pytest.raises(ValueError, match="every epoch or every step, not both"):
        Mixed({"a": Seen(1, "step"), "b": Seen(1, "epoch")})
    with pytest.raises(ValueError, match="needs updates_per_round"):
        Stage((object(),), Mixed({"a": Seen(1, "step"), "b": Seen(1)}))
    with pytest.raises(ValueError, match="size: without weights"):
        Mixed({"a": numbers(1)}, size=3)
    with pytest.raises(ValueError, match=r"names fields \['source'\]"):
        Mixed({"a": numbers(1, source=2.0)}).gather(np.arange(1), 0)
