"""Supervised learning of texts: the likelihood of the tokens that count, whatever stands in the places that do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from rows import Row, small_lm, texts
from test_every_method import loud, tried

from embodkd.core import Optimiser, Signals
from embodkd.methods import make_method, needs_of
from embodkd.models import make_model

ROW = Row(teachers={}, student=small_lm, data=texts)


def trained(row: Row = ROW, trainer: dict[str, Any] | None = None, **more: Any) -> dict[str, torch.Tensor]:
    return dict(tried("supervised", row, **more).train(**(trainer or {})).recipe.product.state_dict())


def test_it_learns_from_classes_and_from_texts_and_what_learns_from_classes_alone_says_who_does() -> None:
    assert needs_of("supervised") == ("splits", "texts", "pairs", "speech") and needs_of("kd") == ("splits",)
    with pytest.raises(ValueError, match=r"'kd' learns from a data set \(data=\.\.\.\), not from texts; .* supervised"):
        make_method({"name": "kd"}, "texts")
    with pytest.raises(ValueError, match=r"not from posed views; these do: momentum_gs"):
        make_method({"name": "supervised"}, "views")


def test_the_term_is_the_negative_log_likelihood_of_each_token() -> None:
    data, model = texts(), small_lm()
    (stage,) = tried("supervised", ROW).recipe.stages
    fields = data.train.fields
    batch = Signals(dict(fields))
    with torch.no_grad():
        s = Signals(model(fields["tokens"]))
        found = stage.players[0].terms(batch, s)["ce"]
        for n, t in fields["mask"].nonzero().tolist():
            p = torch.softmax(model.next_logits(fields["tokens"][n : n + 1, :t])[0][0].double(), 0)
            torch.testing.assert_close(found[n, t].double(), -p[fields["tokens"][n, t]].log(), rtol=1e-4, atol=1e-5)


def test_what_stands_where_nothing_counts_changes_no_weight() -> None:
    data = texts()
    fields = dict(data.train.fields)
    behind_NT = ~fields["mask"] & (torch.arange(6) >= 2)
    changed = torch.where(behind_NT, 4, fields["tokens"])
    assert not torch.equal(changed, fields["tokens"])
    rubbish = data.with_parts({**data.parts(), "train": type(data.train)({**fields, "tokens": changed})})
    one, other = trained(), trained(data=rubbish)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_batch_in_pieces_gives_the_same_update() -> None:
    rate = {"optimiser": Optimiser("sgd", 0.1)}
    one, other = trained(**rate), trained(trainer={"accumulate": 2}, **rate)
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_extreme_logits_stay_finite(precision: str) -> None:
    found = trained(change=loud, trainer={"precision": precision})
    assert all(torch.isfinite(value).all() for value in found.values())


def test_a_transformer_learns_texts_by_heart() -> None:
    data = texts(n=5)
    torch.manual_seed(0)
    student = make_model("causal_lm", **data.facts(), width=32, depth=1, heads=2)
    row = replace(ROW, student=lambda classes: student, data=lambda: data)
    tried("supervised", row, epochs=150, optimiser=Optimiser("adam", 0.01)).train()
    fields = data.train.fields
    with torch.no_grad():
        likely = student.eval()(fields["tokens"])["logits"].argmax(-1) == fields["tokens"]
    assert likely[fields["mask"]].double().mean() > 0.8


def test_texts_are_not_shifted() -> None:
    with pytest.raises(ValueError, match="shift=2 moves images"):
        tried("supervised", ROW, method={"shift": 2})
