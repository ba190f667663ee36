"""A mean over mass is one over all tokens (pixels, frames) of the whole batch, however it is padded, cut or written."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sequences import Tokens, nll, sequences, token_mean

from embodkd.core import Optimiser, Player, Role, TensorData, Trainer, fit

SGD = Optimiser("sgd", 0.1, momentum=0.0)


def trained(make, data, batch_size=23, precision="float64", **options):
    student = Tokens()
    Trainer(quiet=True, precision=precision, **options).fit(fit(make(student), data, batch_size=batch_size))
    return torch.cat([p.detach().flatten() for p in student.parameters()])


def mean_over_tokens(student):
    return token_mean(student, optimiser=SGD)


def test_one_update_is_that_of_the_mean_over_all_tokens():
    data, by_hand = sequences(), Tokens()
    token_NT, mask_NT = data.fields["input"], data.fields["mask"]
    nll(by_hand(token_NT)["logits"], token_NT)[mask_NT].mean().backward()
    expected = torch.cat([(p - 0.1 * p.grad).detach().flatten() for p in by_hand.parameters()])
    torch.testing.assert_close(trained(mean_over_tokens, data), expected, rtol=1e-12, atol=1e-14)


def test_it_is_not_the_mean_of_the_items_means():
    def per_item(student):
        def terms(batch, s):
            values_NT = nll(s["logits"], batch["input"]) * batch["mask"]
            return {"nll": values_NT.sum(1) / batch["mask"].sum(1)}

        return Player(Role(student), terms, optimiser=SGD)

    data = sequences()
    assert (trained(per_item, data) - trained(mean_over_tokens, data)).abs().max() > 1e-4


@settings(max_examples=10, deadline=None)
@given(padding=st.integers(1, 9))
def test_padding_changes_nothing_whatever_it_holds(padding):
    expected = trained(mean_over_tokens, sequences())
    torch.testing.assert_close(trained(mean_over_tokens, sequences(padding=padding)), expected, rtol=1e-12, atol=1e-14)


def test_padding_that_is_not_a_number_sends_no_gradient():
    def player(student):
        def terms(batch, s):
            return {"nll": torch.where(batch["mask"], nll(s["logits"], batch["input"]), torch.nan)}

        return Player(Role(student), terms, mass={"nll": "mask"}, optimiser=SGD)

    assert trained(player, sequences()).equal(trained(mean_over_tokens, sequences()))


@pytest.mark.parametrize("pieces", [2, 5, 23])
def test_cutting_the_batch_changes_nothing(pieces):
    expected = trained(mean_over_tokens, sequences())
    found = trained(mean_over_tokens, sequences(), accumulate=pieces)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_amounts_of_items_are_the_same_mean_written_otherwise():
    def amounts(student):
        def terms(batch, s):
            values_NT = nll(s["logits"], batch["input"]) * batch["mask"]
            return {"nll": values_NT.sum(1) / batch["length"]}

        return Player(Role(student), terms, mass={"nll": "length"}, optimiser=SGD)

    data = sequences()
    lengths = TensorData({**data.fields, "length": data.fields["mask"].sum(1)})
    found = trained(amounts, lengths)
    torch.testing.assert_close(found, trained(mean_over_tokens, data), rtol=1e-12, atol=1e-14)


def test_a_mass_of_ones_is_no_mass():
    def plain(student):
        return Player(Role(student), lambda batch, s: {"nll": nll(s["logits"], batch["input"]).sum(1)}, optimiser=SGD)

    def ones(student):
        terms, mass = plain(student).terms, {"nll": "one"}
        return Player(Role(student), terms, mass=mass, optimiser=SGD)

    data = sequences()
    one = TensorData({**data.fields, "one": torch.ones(data.size())})
    torch.testing.assert_close(trained(ones, one), trained(plain, data), rtol=1e-12, atol=1e-14)


def test_terms_with_and_without_mass_stand_side_by_side_and_are_logged_as_their_means():
    data, student, kept = sequences(), Tokens(), {}

    def terms(batch, s):
        values_NT = nll(s["logits"], batch["input"])
        kept["token"] = values_NT[batch["mask"]].mean().item()
        kept["item"] = ((values_NT * batch["mask"]).sum(1) / batch["mask"].sum(1)).mean().item()
        return {"token": values_NT, "item": (values_NT * batch["mask"]).sum(1) / batch["mask"].sum(1)}

    player = Player(Role(student), terms, mass={"token": "mask"}, weights={"item": 0.5})
    said = Trainer(quiet=True, precision="float64").fit(fit(player, data, batch_size=23)).last
    assert said["student/token"] == pytest.approx(kept["token"], rel=1e-12)
    assert said["student/item"] == pytest.approx(kept["item"], rel=1e-12)


def test_a_batch_without_any_mass_moves_nothing():
    data = sequences()
    nothing = TensorData({**data.fields, "mask": torch.zeros_like(data.fields["mask"])})
    before = torch.cat([p.detach().flatten() for p in Tokens().parameters()])
    assert trained(mean_over_tokens, nothing).equal(before)


def test_half_precision_keeps_the_mean():
    found = trained(mean_over_tokens, sequences(), precision="bf16")
    torch.testing.assert_close(found, trained(mean_over_tokens, sequences()), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("mass", "message"),
    [
        ({"nll": "masc"}, "mass.nll: the batch of player 'student' has no 'masc'.*'mask'"),
        ({"nl": "mask"}, "mass: player 'student' has no term 'nl'.*'nll'"),
        ({"nll": "sample_id"}, r"gives shape \(23, 7\); its mass, the field 'sample_id', has \(23,\)"),
    ],
)
def test_a_mass_that_does_not_fit_is_refused_by_name(mass, message):
    def player(student):
        return Player(Role(student), lambda batch, s: {"nll": nll(s["logits"], batch["input"])}, mass=mass)

    with pytest.raises(ValueError, match=message):
        trained(player, sequences())
