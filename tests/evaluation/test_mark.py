"""The mark of a stored result: what counts as another origin."""

from __future__ import annotations

from embodkd.evaluation.tables.mark import changes


def test_a_key_that_came_with_null_is_no_change_and_one_with_a_value_is() -> None:
    before, after = {"trainer": {"log_every": 1}}, {"trainer": {"log_every": 1, "shard": None}}
    assert not changes(before, after) and not changes(after, before)
    assert changes(before, {"trainer": {"log_every": 1, "shard": "all"}}) == ["trainer.shard: new"]
    assert changes(after, {"trainer": {"log_every": 2}}) == ["trainer.log_every: 1, now 2"]
