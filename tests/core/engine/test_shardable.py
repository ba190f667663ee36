"""Recipes whose models cannot lie in parts are refused by name before anything is shared out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from embodkd.core import Every, Optimiser, Player, Recipe, Role, TensorData, Trainer, Unroll, fit
from embodkd.core.engine.apart import apart
from embodkd.core.engine.shardable import check_shardable
from embodkd.core.engine.shards import Shards, blocks
from embodkd.core.ranks import ranks
from embodkd.core.terms import squared_error


class Asking(TensorData):
    refresh = "epoch"


def recipe(**stage) -> Recipe:
    """A student of two layers and no teacher."""
    student = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    player = Player(Role(student), lambda batch, s: {"near": squared_error(s.logits_NC, batch["wanted"])})
    data = TensorData({"input": torch.ones(4, 3), "wanted": torch.ones(4, 2)})
    return fit(player, data, **stage)


def learner(made: Recipe, **new) -> Recipe:
    (stage,) = made.stages
    return replace(made, stages=(replace(stage, players=[replace(stage.players[0], **new)]),))


def step(context):
    return None


def through() -> Recipe:
    made = recipe()
    inner = made.stages[0].players[0]
    data = TensorData({"input": torch.ones(4, 3), "wanted": torch.ones(4, 2)})
    return learner(made, through=Unroll(inner, data, rate=0.1))


def asking() -> Recipe:
    made = recipe()
    source = Asking({"input": torch.ones(4, 3), "wanted": torch.ones(4, 2)})
    return replace(made, stages=(replace(made.stages[0], source=source),))


@pytest.mark.parametrize(
    "made, words",
    [
        (lambda: recipe().then(step), "step is a step of the first process alone"),
        (lambda: recipe(every=[Every(2, step)]), "stage 'fit' has a step of the first process alone, step"),
        (asking, "refresh='epoch'"),
        (through, "player 'student' learns through another one's step"),
    ],
)
@pytest.mark.parametrize("which", ["student", "teachers", "all"])
def test_a_recipe_that_cannot_lie_in_parts_is_refused_with_what_to_do(made, words, which):
    check_shardable(recipe(), which)
    with pytest.raises(ValueError, match=f"trainer.shard={which}: .*{words}.*set trainer.shard=null"):
        check_shardable(made(), which)


def test_models_with_weights_in_common_are_refused_by_name():
    made = recipe()
    trunk = nn.Sequential(made.product[0])
    both = learner(made, given={"t": Role(trunk, "frozen")}, terms=lambda batch, s, t: {})
    with pytest.raises(ValueError, match=r"trainer.shard=all: 0.weight of a Sequential is a Sequential's too"):
        Shards(both, "all", torch.device("cpu"))


def test_nobody_to_share_out_is_an_error():
    with pytest.raises(ValueError, match="trainer.shard=teachers: the recipe has none"):
        Shards(recipe(), "teachers", torch.device("cpu"))


@pytest.mark.parametrize(
    "words, said", [({"shard": "both"}, "not one of student, teachers, all"), ({"precision": "fp16"}, "bf16")]
)
def test_what_does_not_go_with_it_is_refused_on_any_number_of_processes(words, said):
    with pytest.raises(ValueError, match=f"trainer.shard.*{said}"):
        Trainer(None, **{"shard": "all", **words})


def test_on_one_process_nothing_is_shared_out():
    students = []
    for shard in (None, "all"):
        torch.manual_seed(0)
        made = recipe(epochs=2, batch_size=2)
        Trainer(None, shard=shard, quiet=True).fit(made)
        students.append(made.product.state_dict())
    assert all(torch.equal(value, students[1][name]) for name, value in students[0].items())
    assert apart(students[0], 1, ranks()) == (students[0], None)


def test_blocks_are_the_members_of_lists_of_layers_that_share_nothing():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner = nn.Module()
            inner.parts = nn.ModuleList([nn.Linear(2, 2), nn.Identity()])
            self.layers = nn.ModuleList([inner, nn.Linear(2, 2), nn.Linear(2, 2)])
            self.head = nn.Linear(2, 2)
            self.head.weight = self.layers[2].weight

    model = Model()
    assert blocks(model) == [model.layers[0].parts[0], model.layers[0], model.layers[1]]


def test_groups_that_are_cut_by_kind_keep_order_and_rates():
    """Where some parameters lie in parts: stands here for them, by an attribute of theirs."""
    named = {name: nn.Parameter(torch.zeros(2)) for name in "abcd"}
    for name in "ac":
        named[name].device_mesh = "two"
    (bundle,) = Optimiser().bundles(named)
    assert [part.names for part in bundle.by_kind(named)] == [("b", "d"), ("a", "c")]
    assert {(part.rate, part.scale, part.weight_decay) for part in bundle.by_kind(named)} == {
        (bundle.rate, bundle.scale, bundle.weight_decay)
    }
