"""Shares and means of a stream's episodes are those of episodes that were started together, whatever their lengths."""

import numpy as np
import pytest

from embodkd.rl.started import Started

LONG = 20  # steps of a failing episode; a successful one takes two to six


def streamed(share, copies=200, stretches=60, length=7):
    """Mean return and share told after each stretch; an episode earns 2 if it succeeds, 1 if not, bit by bit."""
    rng, counted, told = np.random.default_rng(0), Started(copies), []
    won, left, whole = np.zeros(copies, bool), np.zeros(copies, int), np.zeros(copies, int)

    def begin(ids):
        won[ids] = rng.random(len(ids)) < share
        whole[ids] = left[ids] = np.where(won[ids], rng.integers(2, 7, len(ids)), LONG)

    begin(np.arange(copies))
    for _ in range(stretches):
        for _ in range(length):
            left -= 1
            over = np.flatnonzero(left == 0)
            counted.step((1 + won) / whole, over, won.copy())
            begin(over)
        told.append(counted.told())
    return told


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_short_episodes_are_not_over_counted(share):
    told = streamed(share)
    assert told[:2] == [None, None], "the long ones that were started first have not ended"
    known = np.array([pair for pair in told if pair is not None])
    assert len(known) > 50
    np.testing.assert_allclose(known[0], [1 + share, share], atol=0.08)
    np.testing.assert_allclose(known.mean(axis=0), [1 + share, share], atol=0.015)
    assert known[:, 0].max() <= 2.0


def test_a_count_goes_on_where_it_was():
    counted, other = Started(3), Started(3)
    for each in (counted, other):
        each.step(np.ones(3), np.array([1]), np.array([False, True, False]))
        each.told()
    again = Started(3)
    again.load_state_dict(other.state_dict())
    for each in (counted, again):
        each.step(np.ones(3), np.array([0, 1, 2]), np.array([True, False, False]))
        assert each.told() == pytest.approx((6 / 4, 2 / 4)), "the middle copy has begun two in that stretch"
