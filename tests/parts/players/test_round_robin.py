"""Turns: who comes when, and where curves are by then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Optimiser, linear
from embodkd.parts.players.round_robin import in_turns
from embodkd.parts.splats.rates import during

SIZES = (st.integers(1, 5), st.integers(1, 40), st.integers(1, 12))


@given(*SIZES)
def test_every_part_has_all_its_updates_and_none_is_more_than_a_turn_ahead(parts: int, total: int, interval: int):
    done = [0] * parts
    for visit in in_turns(parts, total, interval):
        assert visit.before == done[visit.part]
        done[visit.part] += visit.updates
        assert max(done) - min(done) <= interval
        assert visit.last == (done[visit.part] == total)
        assert done == sorted(done, reverse=True)
    assert done == [total] * parts


@given(*SIZES)
def test_a_line_over_all_updates_is_the_same_line_cut_into_turns(parts: int, total: int, interval: int):
    whole, steps = linear(2.0, 1.0), max(1, total - 1)
    for visit in in_turns(parts, total, interval):
        piece = visit.stretch(lambda share: 2.0 - share)
        for k in range(visit.updates):
            wanted = whole.at(visit.before + k, total) if total > 1 else 2.0
            assert piece.at(k, visit.updates) == pytest.approx(wanted if steps else 2.0)


def test_rates_begin_and_end_where_the_paper_has_them_and_follow_the_budgets_curve():
    visits = list(in_turns(1, 100, 10))
    for visit, wanted in ((visits[0], 0.01), (visits[-1], 0.0001)):
        optimiser = during(visit, Optimiser("adam", 0.0075))
        (offset,) = (group for group in optimiser.groups if group.pattern.endswith("offset"))
        edge = 0 if visit.before == 0 else 9
        assert offset.curve().at(edge, 10) * optimiser.rate().at(edge, 10) == pytest.approx(wanted)
    # a rate of the budget's own that falls is cut into the turns, too
    falling = Optimiser("adam", linear(1.0, 0.0))
    rates = [during(visit, falling).rate().at(k, 10) for visit in visits for k in range(10)]
    assert rates == pytest.approx([linear(1.0, 0.0).at(k, 100) for k in range(100)])
