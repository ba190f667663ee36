"""KD-AIF: unit weights are plain KD, a flipped teacher answer is told apart, weights are positive with mean one."""

import pytest
import torch
from rows import C, blobs, budget, small

from embodkd.core.influence import sample_weights
from embodkd.core.recipe import Context
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.trainer import Trainer
from embodkd.methods import get_method

KDAIF = get_method("kd_aif")
HERE = Context(None, 0, torch.device("cpu"))


class Answers(torch.nn.Module):
    """A teacher that knows the labels, except for the samples named wrong."""

    reads = ("input", "label", "sample_id")

    def __init__(self, wrong):
        super().__init__()
        self.wrong = torch.as_tensor(wrong)
        self.classifier = torch.nn.Linear(1, C)

    def forward(self, seen):
        label_N = (seen["label"] + torch.isin(seen["sample_id"], self.wrong).long()) % C
        return {"logits": 4.0 * torch.nn.functional.one_hot(label_N, C).float()}


def test_a_wrong_answer_of_the_teacher_gets_a_negative_score_and_less_than_the_median_weight():
    data = blobs()
    ids = data.train.fields["sample_id"]
    wrong = ids[:3]
    method = KDAIF(temperature=1.5)
    student = small()
    recipe = method.recipe(student, Answers(wrong), data, budget=budget())
    Trainer(quiet=True).fit(type(recipe)(recipe.stages[:1], student))
    table = recipe.stages[1]
    table(HERE)
    assert (table["score"][wrong] < 0).all()
    assert (table["weight"][wrong] < table["weight"][ids].median()).all()
    assert (table["weight"][ids] > 0).all()
    torch.testing.assert_close(table["weight"][ids].mean(), torch.tensor(1.0))


@pytest.mark.parametrize("transform", ["sigmoid", "exponential"])
def test_weights_do_not_change_when_all_scores_are_multiplied(transform):
    score_N = torch.randn(50, dtype=torch.float64)
    once, again = (sample_weights(k * score_N, transform, 2.0) for k in (1.0, 37.0))
    torch.testing.assert_close(once, again)
    torch.testing.assert_close(once.mean(), torch.tensor(1.0, dtype=torch.float64))
    assert (once > 0).all() and (once.argsort() == score_N.argsort()).all()


def test_unit_weights_are_plain_distillation():
    method, logits = KDAIF(), [torch.randn(6, C, dtype=torch.float64) for _ in range(2)]
    s, t = (Signals({"logits": value}) for value in logits)
    probabilities = [(value / 7.0).softmax(1) for value in logits]
    expected = (probabilities[1] * (probabilities[1] / probabilities[0]).log()).sum(1)
    torch.testing.assert_close(method.terms(s, s, t)["kd"], expected)


def test_the_teacher_is_frozen_unless_it_learns_too():
    data, student = blobs(), small()
    teacher = Role(Answers([]), "frozen").model
    recipe = KDAIF().recipe(student, teacher, data, budget=budget())
    assert [len(stage.players) for stage in recipe.stages if hasattr(stage, "players")] == [1, 1]
