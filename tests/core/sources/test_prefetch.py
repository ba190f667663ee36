"""What a thread makes ahead is what would have been made, its errors come out, and it ends when nobody listens."""

import threading
import time
import traceback
from contextlib import closing
from contextvars import ContextVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Ragged, Signals, TensorData, ahead, shuffled
from embodkd.core.batch.pieces import shares
from embodkd.core.sources.prefetch import coming, pinned


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def soon(condition):
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.01)
    return False


@given(st.integers(0, 20), st.integers(0, 5), st.integers(1, 7))
def test_items_come_in_their_order_bit_for_bit(size, count, batch_size):
    data = TensorData({"x": np.random.default_rng(0).normal(size=(size + 1, 3))}, replay="draw", seed=1)

    def made():
        return (data.gather(index, 4) for index in shuffled(size + 1, batch_size, 7))

    for mine, theirs in zip(ahead(made(), count), made(), strict=True):
        assert set(mine) == set(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert not threads()


@given(st.integers(1, 30), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2))
def test_the_pieces_that_come_are_those_of_the_whole_batch_padded_alike(size, processes, pieces, count):
    texts = [[k + 1] * (1 + k * 7 % 5) for k in range(size)]
    source = Ragged({"tokens": texts})
    order = list(shuffled(size, 7, 1))
    for process in range(processes):
        for index, found in coming(source, [(index, 0) for index in order], count, process, processes, pieces):
            expected = list(shares(index, process, processes, pieces))
            assert len(found) == len(expected)
            for piece, (own, portion) in zip(found, expected, strict=True):
                assert piece.batch["sample_id"].tolist() == own.tolist()
                assert (piece.portion is None) == (portion is None)
                assert portion is None or torch.equal(piece.portion.place_N, portion.place_N)
                tokens, mask = piece.batch["tokens"], piece.batch["tokens_mask"]
                assert [row[m].tolist() for row, m in zip(tokens, mask, strict=True)] == [texts[k] for k in own]
            assert len({piece.batch["tokens"].shape[1] for piece in found}) <= 1


def test_nothing_is_gathered_ahead_of_a_source_that_is_refilled_at_every_step():
    data, asked = TensorData({"x": np.arange(9)}), []
    data.refresh = "step"
    ready = coming(data, ((asked.append(k) or np.array([k]), 0) for k in range(9)), 4)
    next(ready)
    assert asked == [0] and not threads()


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_than_so_many_are_made_ahead(count):
    made = []

    def items():
        for k in range(20):
            made.append(k)
            yield k

    with closing(ahead(items(), count)) as coming:
        for k in range(5):
            assert next(coming) == k
            # those that lie ready, and the one that waits for a place
            assert soon(lambda k=k: len(made) == k + 1 + count + 1)
            time.sleep(0.01)
            assert len(made) == k + count + 2
    assert not threads() and len(made) <= 5 + count + 1


def test_nothing_is_made_before_it_is_asked_for_where_none_is_made_ahead():
    made = []
    coming = ahead((made.append(k) or k for k in range(3)), 0)
    assert made == [] and next(coming) == 0 and made == [0] and not threads()


def broken_item(k):
    raise KeyError(f"item {k}")


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_comes_where_its_item_would_and_says_where_it_was_raised(count):
    coming = ahead((broken_item(k) if k == 3 else k for k in range(9)), count)
    assert [next(coming) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="item 3") as caught:
        next(coming)
    assert "broken_item" in "".join(traceback.format_exception(caught.value)) and not threads()
    assert list(coming) == []


@pytest.mark.parametrize("leave", ["break", "error", "never begun"])
def test_who_leaves_early_leaves_no_thread(leave):
    try:
        with closing(ahead(iter(range(10**9)), 2)) as coming:
            for k in coming if leave != "never begun" else ():
                if k == 5 and leave == "break":
                    break
                if k == 5:
                    raise InterruptedError
    except InterruptedError:
        assert leave == "error"
    assert not threads()


def test_the_thread_sees_what_its_owner_has_set():
    variable = ContextVar("variable", default=0)
    variable.set(7)
    assert list(ahead((variable.get() for _ in range(3)), 2)) == [7, 7, 7]


def test_pinned_batches_hold_the_same():
    batch = Signals(x=torch.arange(3), y=torch.ones(3, 2))
    found = pinned(batch)
    assert all(torch.equal(found[name], batch[name]) for name in batch)
    assert all(value.is_pinned() == torch.cuda.is_available() for value in found.values())
