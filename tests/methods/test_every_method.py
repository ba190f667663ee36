"""What every vision method promises, tried on its row of rows.py."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from rows import ROWS, C, Row
from torch import Tensor, nn
from toy import fingerprint

from embodkd.core import (
    Context,
    Controller,
    Optimiser,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Stage,
    TensorData,
    Trainer,
)
from embodkd.core.batch.pieces import prepared
from embodkd.core.config.schema import build
from embodkd.core.engine.answers import in_order
from embodkd.core.engine.members import learning_modules
from embodkd.core.sources.provenance import Provenance
from embodkd.core.weights.weight import Schedule
from embodkd.methods import METHODS, get_method, method_names

CONTEXT = Context(None, 0, torch.device("cpu"))
every_row = pytest.mark.parametrize("name", ROWS)


def trained_here() -> list[str]:
    for name in method_names():
        get_method(name)
    return [name for name in method_names() if METHODS.metadata(name)["domain"] not in ("robot", "scenes")]


@dataclasses.dataclass
class Tried:
    """A method at work on its row: fresh models, the recipe, and `train()`."""

    student: nn.Module
    teachers: dict[str, nn.Module]
    recipe: Recipe

    def train(self, **trainer: Any) -> Tried:
        Trainer(**{"seed": 3, "quiet": True, **trainer}).fit(self.recipe)
        return self


def tried(
    name: str,
    row: Row,
    *,
    method: Mapping[str, Any] | None = None,
    data: Splits | None = None,
    change: Callable[[nn.Module], None] = lambda model: None,
    teacher_classes: int = C,
    **budget: Any,
) -> Tried:
    """The row's models from fixed seeds (`change` alters each), and what `name` makes of them."""
    torch.manual_seed(11)
    teachers = {key: make(teacher_classes) for key, make in row.teachers.items()}
    torch.manual_seed(12)
    student = row.student(C)
    for model in (student, *teachers.values()):
        change(model)
    arguments = row.arguments if method is None else method
    built = build(get_method(name), arguments, f"method {name}")
    given = teachers.get("teacher") if set(teachers) <= {"teacher"} else teachers
    recipe = built.recipe(student, given, data or row.data(), seed=5, budget=row.budget(**budget))
    return Tried(student, teachers, recipe)


def players(recipe: Recipe) -> Iterator[Player]:
    for stage in recipe.stages:
        if isinstance(stage, Stage):
            yield from stage.players


def fixed(recipe: Recipe) -> list[nn.Module]:
    """The models in roles that must not move."""
    given = (a for player in players(recipe) for a in player.given.values())
    return [a.model for a in given if isinstance(a, Role) and a.part in ("frozen", "passthrough")]


def test_every_method_has_a_row_but_those_of_robots_and_scenes() -> None:
    assert sorted(trained_here()) == sorted(ROWS)


@every_row
def test_metadata_says_what_it_is_and_where_it_is_from(name: str) -> None:
    get_method(name)
    assert {"title", "domain", "family", "paper"} <= set(METHODS.metadata(name))


@every_row
def test_unknown_keys_are_named_with_the_right_one(name: str) -> None:
    for field in dataclasses.fields(get_method(name)):
        with pytest.raises(ValueError, match=f"{field.name}_.*{name}|unknown key") as error:
            build(get_method(name), {f"{field.name}_": 1}, f"method {name}")
        assert repr(field.name) in str(error.value) and f"{field.name}_" in str(error.value)
    with pytest.raises(ValueError, match="unknown key 'nonsense'"):
        build(get_method(name), {"nonsense": 1}, f"method {name}")


@every_row
def test_the_student_learns_and_fixed_models_stay_without_gradient(name: str) -> None:
    row = ROWS[name]
    try_ = tried(name, row)
    former_student = fingerprint(try_.student)
    former = {key: fingerprint(model) for key, model in try_.teachers.items()}
    roles = [(model, fingerprint(model)) for model in fixed(try_.recipe)]
    try_.train()
    assert fingerprint(try_.recipe.product) != former_student
    for key, model in try_.teachers.items():
        assert (fingerprint(model) == former[key]) == (key not in row.learns), key
        if key not in row.learns:
            assert all(p.grad is None for p in model.parameters()), key
    assert all(fingerprint(m) == f and all(p.grad is None for p in m.parameters()) for m, f in roles)


@every_row
def test_same_seed_same_bits(name: str) -> None:
    first, second = (fingerprint(tried(name, ROWS[name]).train().recipe.product) for _ in range(2))
    assert first == second


@every_row
def test_without_its_novel_part_it_is_the_plain_recipe_bit_for_bit(name: str) -> None:
    row = ROWS[name]
    if row.plain is None:
        return
    own = tried(name, row, method={**row.arguments, **row.plain}).train()
    plain = tried(row.against, row, method=row.against_arguments).train()
    assert fingerprint(own.student) == fingerprint(plain.student)
    if row.plain and name != row.against:
        assert fingerprint(own.student) != fingerprint(tried(name, row).train().student)


def last_layer(model: nn.Module) -> Any:
    """The linear layer that gives the logits, or one tower's answer."""
    if hasattr(model, "stacks"):
        return model.get_submodule("backbone.text_projection")
    return model.get_submodule("classifier") if hasattr(model, "classifier") else model.head


def loud(model: nn.Module) -> None:
    """Logits in the ten thousands."""
    with torch.no_grad():
        last_layer(model).weight.mul_(1e4)


@every_row
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_extreme_logits_keep_losses_and_gradients_finite(name: str, precision: str) -> None:
    """An infinite loss or gradient raises; one that is not clipped would leave NaN in the parameters."""
    try_ = tried(name, ROWS[name], change=loud).train(precision=precision)
    for model in learning_modules(try_.recipe):
        assert all(torch.isfinite(v).all() for v in model.state_dict().values())


def values(recipe: Recipe) -> list[dict[str, Tensor]]:
    """Per player: its terms and per-item weights for all items of its source, in the order of their ids, untrained."""
    found: list[dict[str, Tensor]] = []
    for stage in recipe.stages:
        torch.manual_seed(0)
        if not isinstance(stage, Stage):
            stage(CONTEXT)
            continue
        stage.source.refill(0)
        ids = stage.source.gather(np.arange(stage.source.size()), 0)["sample_id"]
        batch = prepared(stage.source.gather(ids.argsort().numpy(), 0), stage.prepare)
        for player in stage.players:
            if player.through is None:
                found.append(of_player(player, batch))
    return found


def of_player(player: Player, batch: Signals) -> dict[str, Tensor]:
    batch = player.at(batch, 0, 1)
    s, given = in_order(player, batch, player.train.signals, lambda answerer, seen: answerer.signals(seen))
    terms = {key: value.detach() for key, value in player.terms(batch, s, **given).items()}
    if not isinstance(player.weights, Controller):
        for key, weight in player.ready_weights().items():
            if not isinstance(weight, Schedule):
                terms[f"weight {key}"] = weight(batch, s, **given).detach()
    return {"sample_id": batch["sample_id"], **terms}


def permuted(data: Splits) -> Splits:
    """The same items, ids included, each part in another order."""
    generator = torch.Generator().manual_seed(1)

    def shuffle(part: TensorData) -> TensorData:
        order = torch.randperm(part.size(), generator=generator)
        return TensorData({key: value[order] for key, value in part.fields.items()})

    return data.with_parts({key: shuffle(part) for key, part in data.parts().items()})


@every_row
def test_values_follow_sample_ids_when_the_data_are_reordered(name: str) -> None:
    """Banks, tables and per-item weights are looked up by id or key, never by place."""
    row = ROWS[name]
    if row.by_place:
        return
    one, other = (values(tried(name, row, data=data).recipe) for data in (row.data(), permuted(row.data())))
    assert one and len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")


@every_row
def test_a_batch_in_two_pieces_gives_the_same_update_or_names_what_needs_it_whole(name: str) -> None:
    row = ROWS[name]
    if row.whole:
        with pytest.raises(ValueError, match=r"trainer\.accumulate") as error:
            tried(name, row).train(accumulate=2)
        assert re.search(row.whole, str(error.value)), str(error.value)
        return
    # Plain gradient descent: Adam would blow up the rounding of a gradient that is nearly zero.
    rate = {"optimiser": Optimiser("sgd", 0.01)}
    whole, pieces = (tried(name, row, **rate).train(accumulate=k).recipe.product.state_dict() for k in (1, 2))
    for key, value in whole.items():
        torch.testing.assert_close(value, pieces[key], rtol=1e-4, atol=1e-6)


@every_row
def test_a_missing_teacher_is_one_clear_error(name: str) -> None:
    row = ROWS[name]
    if row.teachers:
        with pytest.raises(ValueError, match="teacher"):
            tried(name, dataclasses.replace(row, teachers={}))


@every_row
def test_a_teacher_of_other_classes_is_one_clear_error(name: str) -> None:
    row = ROWS[name]
    if row.teachers and not row.ignores_classes:
        with pytest.raises(ValueError, match="class|token"):
            tried(name, row, teacher_classes=C + 1)


@every_row
def test_a_teacher_of_the_same_classes_in_another_order_is_one_error_that_names_both_lists(name: str) -> None:
    row = ROWS[name]
    names = ("a", "b", "c")
    data = dataclasses.replace(row.data(), names=names)

    def knows(classes: tuple[str, ...]) -> Tried:
        def change(model: nn.Module) -> None:
            model.provenance = Provenance(classes)

        return tried(name, row, data=data, change=change)

    knows(names)
    if row.teachers and not row.ignores_classes:
        with pytest.raises(ValueError, match=r"\(c, b, a\).*\(a, b, c\)"):
            knows(names[::-1])


def broken(model: nn.Module) -> None:
    """Its first layer too: some methods answer through another last layer."""
    with torch.no_grad():
        for parameter in (next(model.parameters()), *last_layer(model).parameters()):
            parameter.fill_(torch.nan)


@every_row
def test_a_loss_that_is_not_a_number_names_its_term(name: str) -> None:
    try_ = tried(name, ROWS[name])
    broken(try_.teachers["teacher"] if ROWS[name].inherits else try_.student)
    with pytest.raises(FloatingPointError) as error:
        try_.train()
    named = re.search(r"term ('\w+')", str(error.value))
    assert named is not None, str(error.value)
