"""TAKD: who teaches whom, how large assistants are, and the chain against two distillations by hand."""

import pytest
import torch
from rows import D, blobs, budget, large, small

from embodkd.core import Context, Optimiser, Trainer
from embodkd.methods import get_method
from embodkd.models import make_model
from embodkd.parts.networks.variants import variant

TAKD, KD = get_method("takd"), get_method("kd")
CONTEXT = Context(None, 0, torch.device("cpu"))
# All items at once, so that their order does not matter.
WHOLE = {"batch_size": 48, "optimiser": Optimiser("sgd", 0.1), "epochs": 5}


def net(*hidden, seed=0):
    torch.manual_seed(seed)
    return make_model("mlp", (D,), 3, hidden=hidden)


def fit(method, student, teacher, seed=5, **options):
    recipe = method.recipe(student, teacher, blobs(), seed=seed, budget=budget(**{**WHOLE, **options}))
    return Trainer(quiet=True, seed=1).fit(recipe), recipe


def test_the_chain_is_one_distillation_after_the_other():
    teacher = net(16, 16, seed=1)
    chain = net(4, 4)
    _, recipe = fit(TAKD(argument="hidden", alpha=0.7, assistant_alpha=0.9, temperature=2.0), chain, teacher)
    assistant = variant(net(4, 4), "assistant", 5, 0, hidden=(8, 8))
    fit(KD(alpha=0.9, temperature=2.0), assistant, teacher)
    student = net(4, 4)
    fit(KD(alpha=0.7, temperature=2.0), student, assistant)
    assert recipe.product is chain
    for a, b in zip(chain.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_assistants_lie_between_student_and_teacher_equally_far_apart():
    student, teacher = net(4, 8), net(32, 64)
    assert TAKD(argument="hidden").between(student, teacher) == [(11, 23)]
    assert TAKD(argument="hidden", count=2).between(student, teacher) == [(16, 32), (8, 16)]
    assert TAKD(argument="hidden", count=0).between(student, teacher) == []
    assert TAKD(argument="hidden", sizes=((20,), (10, 5))).between(student, teacher) == [(20,), (10, 5)]


def test_each_network_of_the_chain_is_told_from_the_one_before_and_how_good_it_is():
    torch.manual_seed(0)
    student, teacher = small(), large()
    _, recipe = fit(TAKD(argument="hidden", count=2), student, teacher)
    learning = [stage.players[0] for stage in recipe.stages if hasattr(stage, "players")]
    roles = [(one.train.model, one.given["t"]) for one in learning]
    assert roles[0][1].model is teacher and roles[0][1].part == "frozen"
    assert [given.model for _, given in roles[1:]] == [model for model, _ in roles[:-1]]
    assert roles[-1][0] is student and all(given.part == "snapshot" for _, given in roles[1:])
    for k, (model, _) in enumerate(roles[:-1]):
        data = blobs().validation.fields
        right = model.eval()(data["input"])["logits"].argmax(1) == data["label"]
        assert recipe.stages[2 * k + 1](CONTEXT) == {
            f"assistant_{k}_accuracy": pytest.approx(100 * right.double().mean())
        }


def test_an_assistant_that_learns_from_labels_alone_does_not_hear_its_teacher():
    found = []
    for seed in (1, 2):
        student = net(4, 4)
        _, recipe = fit(TAKD(argument="hidden", assistant_alpha=0.0), student, net(16, 16, seed=seed))
        found.append([*recipe.stages[0].players[0].train.model.parameters(), *student.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("options", [{"argument": "widths"}, {"argument": "hidden"}])
def test_without_a_middle_there_is_one_clear_error(options):
    with pytest.raises(ValueError, match=f"argument '{options['argument']}' is .* or give sizes"):
        TAKD(**options).recipe(net(4, 4), net(16), blobs(), budget=budget())
    with pytest.raises(ValueError, match="count must be at least 0"):
        TAKD(count=-1)
