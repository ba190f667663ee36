"""RAD's recipe: what is asked is learned, each sample once, the pool's own labels never."""

import numpy as np
import pytest
import torch
from rows import C, blobs, budget, large, small

from embodkd.core.source import TensorData
from embodkd.core.splits import Splits
from embodkd.core.terms import cross_entropy, soft_cross_entropy
from embodkd.core.trainer import Trainer
from embodkd.methods import get_method

RAD = get_method("robust_active")


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
    from embodkd.core.signals import Signals

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
