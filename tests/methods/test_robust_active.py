"""RAD's recipe: what is asked is learned, each sample once, the pool's own labels never."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import C, blobs, budget, large, small

from embodkd.core import Context, Splits, TensorData, Trainer, cross_entropy, soft_cross_entropy
from embodkd.methods import get_method

RAD = get_method("robust_active")
CONTEXT = Context(None, 0, torch.device("cpu"))


def trained(data, **keys):
    torch.manual_seed(0)
    student, teacher = small(), large()
    recipe = RAD(queries=7, rounds=2, **keys).recipe(student, teacher, data, budget=budget())
    Trainer(quiet=True).fit(recipe)
    return student, teacher, recipe


@pytest.mark.parametrize("selection", ["rad", "greedy", "uniform"])
def test_every_round_asks_about_new_samples_and_knows_the_teachers_answers(selection):
    data = blobs(unlabelled=30)
    _, teacher, recipe = trained(data, selection=selection)
    first, second = recipe.stages[1], recipe.stages[5]
    ids = data.part("unlabelled").fields["sample_id"]
    assert [int(table["known"][ids].sum()) for table in (first, second)] == [7, 14]
    assert int(second["known"].sum()) == 14 and not (first["known"] & ~second["known"]).any()
    answers = teacher(data.part("unlabelled").fields["input"])["logits"].softmax(1).detach()
    known = second["known"][ids]
    torch.testing.assert_close(second["probs"][ids][known], answers[known])
    source = recipe.stages[-1].source
    assert source.size() == data.train.size() + 14
    assert (source.gather(np.arange(source.size()), 0).label_N[-14:] == -1).all()


def test_the_pools_labels_change_nothing():
    data = blobs(unlabelled=30)
    pool = data.part("unlabelled").fields
    labelled = TensorData({**pool, "label": torch.randint(C, (30,))})
    told = Splits(data.train, data.validation, data.test, C, data.shape, {"unlabelled": labelled})
    for a, b in zip(trained(data)[0].parameters(), trained(told)[0].parameters(), strict=True):
        assert torch.equal(a, b)


def test_terms_take_the_answer_where_there_is_one_and_the_label_elsewhere():
    from embodkd.core import Signals

    logits, probs = torch.randn(4, C), torch.randn(4, C).softmax(1)
    batch = Signals(label=torch.tensor([0, -1, 2, -1]))
    known = torch.tensor([False, True, False, True])
    found = RAD().terms(batch, Signals(logits=logits), Signals(probs=probs, known=known))["ce"]
    torch.testing.assert_close(found[known], soft_cross_entropy(logits, probs)[known])
    torch.testing.assert_close(found[~known], cross_entropy(logits[~known], torch.tensor([0, 2])))


def test_a_share_of_the_pool_is_a_number_of_queries():
    data = blobs(unlabelled=30)
    recipe = RAD(queries=0.2).recipe(small(), large(), data, budget=budget())
    assert recipe.stages[-1].source.planned_size(0) == data.train.size() + 6
    with pytest.raises(ValueError, match="share"):
        RAD(queries=1.5)


def test_too_many_queries_are_an_error():
    with pytest.raises(ValueError, match="has 30"):
        RAD(queries=31).recipe(small(), large(), blobs(unlabelled=30), budget=budget())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 1.0), min_size=40, max_size=60).map(np.array), st.integers(1, 19))
def test_by_default_it_draws_among_more_candidates_than_it_asks_about(gain, queries):
    chance = RAD(queries=queries).chances(gain, queries)
    assert np.count_nonzero(chance) > 2 * queries and chance.sum() == pytest.approx(queries)
    assert not np.array_equal(chance, RAD(selection="greedy").chances(gain, queries))


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"queries": 10, "cost": 2.0}, "less than the 10 queries.*margin sampling"),
        ({"queries": 0.5, "cost": 2.0}, "less than the 15 queries"),
        ({"queries": 10, "rounds": 2}, "20 needs more candidates.*last round has 20"),
        ({"queries": 5, "cost": 30.0}, "30 needs more candidates.*uniform"),
    ],
)
def test_a_cost_at_which_it_would_be_another_method_is_an_error(keys, word):
    with pytest.raises(ValueError, match=word):
        RAD(**keys).recipe(small(), large(), blobs(unlabelled=30), budget=budget())
    other = RAD(**{**keys, "selection": "greedy"})
    assert other.recipe(small(), large(), blobs(unlabelled=30), budget=budget()).stages


@pytest.mark.parametrize(("selection", "most"), [("rad", 30), ("greedy", 7), ("uniform", 30)])
def test_facts_say_among_how_many_the_last_round_drew(selection, most):
    data = blobs(unlabelled=30)
    torch.manual_seed(0)
    recipe = RAD(queries=7, selection=selection).recipe(small(), large(), data, budget=budget())
    Trainer(quiet=True).fit(recipe)
    found = recipe.stages[2](CONTEXT)
    assert 14 < found["candidates"] <= most if selection == "rad" else found["candidates"] == most
