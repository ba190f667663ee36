"""Items of different lengths: padding changes no value, buckets no item, and what is wrong is named."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from embodkd.core import Player, Ragged, Role, Stage, Trainer, bucketed, fit, shuffled
from embodkd.core.engine.position import Position, batches
from embodkd.core.sources.ragged import EndToEnd


@st.composite
def items(draw):
    """Sequences of numbers and of pairs, with lengths of their own, zero included."""
    count = draw(st.integers(1, 8))
    lengths = st.lists(st.integers(0, 6), min_size=count, max_size=count)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    tokens = [rng.integers(1, 50, n).astype(np.uint16) for n in draw(lengths)]
    frames = [rng.normal(size=(n, 2)).astype(np.float32) for n in draw(lengths)]
    index = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=6))
    return tokens, frames, np.array(index)


@given(items(), st.sampled_from(["batch", "source"]), st.integers(1, 5))
def test_whatever_the_padding_each_item_is_what_it_was(found, pad_to, multiple):
    tokens, frames, index = found
    source = Ragged(
        {"tokens": tokens, "frames": frames},
        {"speaker": np.arange(len(tokens))},
        padding={"tokens": 60_000, "frames": -1.5},
        pad_to=pad_to,
        multiple=multiple,
    )
    batch = source.gather(index, 0)
    for name, sequences, fill in (("tokens", tokens, 60_000), ("frames", frames, -1.5)):
        values, mask = batch[name].numpy(), batch[f"{name}_mask"].numpy()
        assert values.shape[1] % multiple == 0 and mask.shape == values.shape[:2]
        longest = max(1, *(len(sequences[k]) for k in (index if pad_to == "batch" else range(len(tokens)))))
        assert longest <= values.shape[1] < longest + multiple
        for row, k in enumerate(index):
            own = len(sequences[k])
            assert (values[row, :own] == sequences[k]).all() and (values[row, own:] == fill).all()
            assert mask[row].tolist() == [True] * own + [False] * (values.shape[1] - own)
    assert batch["tokens"].dtype == torch.int64 and batch["frames"].dtype == torch.float32
    assert batch["speaker"].tolist() == index.tolist() == batch["sample_id"].tolist()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 9), st.integers(1, 5), st.integers(0, 9))
def test_buckets_hold_every_item_once_in_as_many_batches_as_without(lengths, batch_size, pool, key):
    order = list(bucketed(np.array(lengths), batch_size, key, pool=pool))
    assert sorted(np.concatenate(order)) == list(range(len(lengths)))
    assert [len(b) for b in order] == [len(b) for b in shuffled(len(lengths), batch_size, key)]
    again = list(bucketed(np.array(lengths), batch_size, key, pool=pool))
    assert all((a == b).all() for a, b in zip(order, again, strict=True))


def test_buckets_save_padding_and_differ_from_key_to_key():
    lengths = np.random.default_rng(0).integers(1, 200, 640)

    def padded(order):
        return sum(len(b) * lengths[b].max() for b in order)

    ways = [list(bucketed(lengths, 32, key, pool=20)) for key in range(3)]
    assert all(padded(way) < 1.1 * lengths.sum() for way in ways)
    assert padded(shuffled(640, 32, 0)) > 1.8 * lengths.sum()
    assert (ways[0][0] != ways[1][0]).any() and np.ptp([lengths[b].mean() for b in ways[0][:5]]) > 20


def test_the_trainers_batches_are_those_of_the_source():
    source = Ragged({"tokens": [[1] * k for k in range(1, 41)]}, bucket=5)
    stage = Stage((object(),), source, batch_size=8)
    for done in (0, 3):
        found = [index for index, _ in batches(stage, Position(round=2, done=done), 7, 1, lambda: None)]
        expected = list(bucketed(np.arange(1, 41), 8, 7, 0, 2, 0, pool=5))[done:]
        assert len(found) == 5 - done and all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_one_may_ask_for_no_masks_and_for_other_names():
    batch = Ragged({"a": [[1], [2, 3]], "b": [[4, 5, 6], [7]]}, masks={"a": "here"}).gather(np.array([1, 0]), 0)
    assert set(batch) == {"a", "b", "here", "sample_id"} and batch["here"].tolist() == [[True, True], [True, False]]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"of each field as many; got {'a': 2, 'b': 1}"):
        Ragged({"a": [[1], [2]], "b": [[1]]})
    with pytest.raises(ValueError, match=r"padding: \['c'\] are no sequences"):
        Ragged({"a": [[1]]}, padding={"c": 0})
    with pytest.raises(ValueError, match=r"padding.a: -1 is no uint8"):
        Ragged({"a": [np.zeros(2, np.uint8)]}, padding={"a": -1})
    with pytest.raises(ValueError, match="there is none"):
        EndToEnd.of([])


class Reader(nn.Module):
    """The mean of what it makes of each token, padding left out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 3)

    def forward(self, batch):
        mask = batch["tokens_mask"][..., None]
        return (self.embed(batch["tokens"]) * mask).sum(1) / mask.sum(1)


def test_a_model_learns_the_same_whatever_the_padding_and_no_label_is_asked_for():
    texts = [np.random.default_rng(k).integers(1, 50, 1 + k % 7) for k in range(24)]

    def learned(accumulate=1, **options):
        torch.manual_seed(0)
        model = Reader().double()
        source = Ragged({"tokens": texts}, **options)
        player = Player(
            Role(model, view=("tokens", "tokens_mask"), output="mean"),
            lambda b, s: {"size": s.mean_NC.square().mean(1)},
        )
        Trainer(accumulate=accumulate, quiet=True).fit(fit(player, source, batch_size=8, epochs=2))
        return model.embed.weight.detach()

    whole = learned()
    torch.testing.assert_close(learned(pad_to="source", padding={"tokens": 7}), whole)
    torch.testing.assert_close(learned(multiple=16), whole)
    torch.testing.assert_close(learned(accumulate=3), whole)
