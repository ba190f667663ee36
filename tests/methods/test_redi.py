"""REDI: what pairs of right and wrong traces are worth, and where they come from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from rows import large_lm, problems, small_lm
from torch import Tensor

from embodkd.core import Budget, Context, Optimiser, Role, Signals, Stage, Trainer
from embodkd.methods.redi import REDI, log_p
from embodkd.parts.texts.traces import Traces

N, T, V = 4, 6, 5
CONTEXT = Context(None, 0, torch.device("cpu"))


def pairs(seed: int = 0, padding: int = 0) -> Signals:
    """Right and wrong traces of 2 to 4 tokens behind prompts of 2, and so much more padding, of any tokens."""
    g = torch.Generator().manual_seed(seed)
    place_T = torch.arange(T + padding)
    fields = {}
    for side in ("chosen", "rejected"):
        rubbish = torch.randint(V, (N, padding))
        fields[side] = torch.cat([torch.randint(V, (N, T), generator=g), rubbish], 1)
        length_N = 4 + torch.randint(3, (N,), generator=g)
        fields[f"{side}_mask"] = (place_T >= 2) & (place_T < length_N[:, None])
    return Signals(fields)


def logits(seed: int, padding: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    own = torch.randn(N, T, V, generator=g, dtype=torch.float64)
    return torch.cat([own, torch.randn(N, padding, V, dtype=torch.float64)], 1).requires_grad_()


def loss(terms: dict[str, Tensor], alpha: float = 1.0) -> Tensor:
    """As the player weighs them."""
    return sum(
        (alpha if key == "wrong" else 1.0) * terms[key].mean() for key in ("right", "wrong", "pair") if key in terms
    )


def test_alpha_0_is_the_mean_of_each_right_traces_own_mean() -> None:
    batch, right, wrong = pairs(), logits(1), logits(2)
    found = loss(REDI().redi(batch, Signals(logits=right), Signals(logits=wrong)), alpha=0.0)
    slow = torch.stack(
        [
            -right[n].log_softmax(-1)[mask].gather(1, batch["chosen"][n][mask][:, None]).mean()
            for n, mask in enumerate(batch["chosen_mask"])
        ]
    ).mean()
    torch.testing.assert_close(found, slow, rtol=1e-12, atol=0)
    for a, b in zip(*(torch.autograd.grad(v, right, retain_graph=True) for v in (found, slow)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.3, 0.8, 1.0])
def test_a_trace_against_itself_leaves_one_minus_alpha_of_its_own_loss(alpha: float) -> None:
    batch, right = pairs(), logits(1)
    same = batch.merge(rejected=batch["chosen"], rejected_mask=batch["chosen_mask"])
    s = Signals(logits=right)
    found, alone = loss(REDI().redi(same, s, s), alpha), -log_p(s, batch, "chosen").mean()
    torch.testing.assert_close(found, (1 - alpha) * alone, rtol=1e-9, atol=1e-14)
    if alpha == 1.0:
        (slope,) = torch.autograd.grad(found, right)
        assert slope.abs().max() < 1e-15


def test_the_loss_is_linear_in_each_tokens_log_probability() -> None:
    batch = pairs()
    right, wrong = logits(1), logits(2)
    found = loss(REDI().redi(batch, Signals(logits=right), Signals(logits=wrong)), 0.8)
    for logit, side, factor in ((right, "chosen", -1.0), (wrong, "rejected", 0.8)):
        (slope,) = torch.autograd.grad(found, logit, retain_graph=True)
        p = logit.softmax(-1).detach()
        per_token = torch.nn.functional.one_hot(batch[side], V) - p
        mask_NT = batch[f"{side}_mask"].double()
        expected = factor * (mask_NT / (N * mask_NT.sum(1, keepdim=True)))[..., None] * per_token
        torch.testing.assert_close(slope, expected, rtol=1e-9, atol=1e-14)


def test_padding_and_copies_of_the_batch_change_nothing_but_a_longer_trace_does() -> None:
    right, wrong = logits(1), logits(2)
    usual = loss(REDI().redi(pairs(), Signals(logits=right), Signals(logits=wrong)))
    padded = loss(REDI().redi(pairs(padding=3), Signals(logits=logits(1, 3)), Signals(logits=logits(2, 3))))
    torch.testing.assert_close(padded, usual, rtol=1e-12, atol=1e-14)
    twice = pairs().map(lambda rows: torch.cat([rows, rows]))
    doubled = loss(REDI().redi(twice, Signals(logits=torch.cat([right] * 2)), Signals(logits=torch.cat([wrong] * 2))))
    torch.testing.assert_close(doubled, usual, rtol=1e-12, atol=1e-14)
    batch = pairs()
    longer = batch["chosen_mask"].clone()
    row = int((~longer[:, 2:]).any(1).nonzero()[0])
    longer[row, int(longer[row].nonzero().max()) + 1] = True
    changed = batch.merge(chosen_mask=longer)
    assert (loss(REDI().redi(changed, Signals(logits=right), Signals(logits=wrong))) - usual).abs() > 1e-4


def test_simpo_with_a_small_beta_points_where_alpha_1_does() -> None:
    batch, right, wrong = pairs(), logits(1), logits(2)
    s, w = Signals(logits=right), Signals(logits=wrong)
    beta, gamma = 1e-4, 1.0
    limit = torch.autograd.grad(loss(REDI().redi(batch, s, w)), (right, wrong), retain_graph=True)
    own = torch.autograd.grad(loss(REDI(pairs="simpo", beta=beta, gamma=gamma).simpo(batch, s, w)), (right, wrong))
    factor = beta / (1.0 + math.exp(-gamma))
    for a, b in zip(own, limit, strict=True):
        torch.testing.assert_close(a / factor, b, rtol=1e-3, atol=1e-9)


def test_gain_bounds_what_can_be_won_by_a_wrong_trace() -> None:
    gain = 2.0
    wrong = logits(2).detach() * torch.linspace(0.1, 200.0, N)[:, None, None]
    batch = pairs()
    found = REDI(gain=gain).redi(batch, Signals(logits=logits(1)), Signals(logits=wrong))["wrong"]
    assert (found >= -1.0 / (math.e * gain) - 1e-12).all()
    assert REDI().redi(batch, Signals(logits=logits(1)), Signals(logits=wrong))["wrong"].min() < -1.0


def test_dpo_starts_at_log_2_and_prefers_what_has_gained() -> None:
    batch, s, w = pairs(), Signals(logits=logits(1)), Signals(logits=logits(2))
    start = REDI(pairs="dpo").dpo(batch, s, w, ref_chosen=s, ref_rejected=w)["pair"]
    torch.testing.assert_close(start, torch.full((N,), math.log(2.0), dtype=torch.float64), rtol=1e-12, atol=0)
    likelier = torch.nn.functional.one_hot(batch["chosen"], V) * 3.0 + logits(1).detach()
    gained = REDI(pairs="dpo").dpo(batch, Signals(logits=likelier), w, ref_chosen=s, ref_rejected=w)["pair"]
    assert (gained < start).all()


def recipe(**options: Any) -> Any:
    torch.manual_seed(0)
    student, teacher = small_lm(), large_lm()
    method = REDI(**{"tries": 6, "share": 0.5, "temperature": 1e6, **options})
    budget = Budget(updates=8, batch_size=8, optimiser=Optimiser("adam", 0.01))
    return method.recipe(student, teacher, problems(), seed=5, budget=budget)


def test_only_dpo_has_a_reference_which_is_the_student_as_stage_1_left_it() -> None:
    for kind, others in (("redi", 0), ("simpo", 0), ("right", 0), ("dpo", 1)):
        made = recipe(pairs=kind)
        stages = [stage for stage in made.stages if isinstance(stage, Stage)]
        given = [a for stage in stages for player in stage.players for a in player.given.values()]
        models = {id(a.model) for a in given if isinstance(a, Role)} - {id(made.product)}
        assert len(models) == others, kind
    made = recipe(pairs="dpo")
    first, second = (stage for stage in made.stages if isinstance(stage, Stage))
    Trainer(quiet=True, seed=3).fit(made)
    reference = second.players[0].given["ref_chosen"].model
    again = recipe(pairs="dpo")
    Trainer(quiet=True, seed=3).fit(type(again)(again.stages[:2], again.product))
    assert all(a.equal(b) for a, b in zip(reference.parameters(), again.product.parameters(), strict=True))


def test_traces_are_sorted_by_the_checker_and_depend_on_no_neighbour() -> None:
    data, torch_seed = problems(), torch.manual_seed(0)
    assert torch_seed is not None
    writer = large_lm()
    traces = Traces(writer, data, tries=6, temperature=1e6, seed=5)
    said = traces(CONTEXT)
    found = {name: value.numpy() for name, value in traces.pairs.source.fields.items()}  # type: ignore[attr-defined]
    assert 0 < said["paired"] == len(found["sample_id"]) <= said["traced"]
    prompt_N = torch.full((len(found["sample_id"]),), 2)
    assert data.solved(torch.from_numpy(found["chosen"]), prompt_N).all()
    assert not data.solved(torch.from_numpy(found["rejected"]), prompt_N).any()
    ids = data.train.fields["sample_id"]
    place = {int(k): n for n, k in enumerate(ids)}
    prompts = data.train.fields["tokens"][:, :2].numpy()
    for row, k in enumerate(found["sample_id"]):
        for side in ("chosen", "rejected"):
            assert (found[side][row, :2] == prompts[place[int(k)]]).all()
            assert not found[f"{side}_mask"][row, :2].any() and found[f"{side}_mask"][row, 2:].any()
    half = data.with_parts(
        {**data.parts(), "train": type(data.train)({k: v[::2] for k, v in data.train.fields.items()})}
    )
    fewer = Traces(writer, half, tries=6, temperature=1e6, seed=5)
    fewer(CONTEXT)
    some = {name: value.numpy() for name, value in fewer.pairs.source.fields.items()}  # type: ignore[attr-defined]
    rows = np.isin(found["sample_id"], some["sample_id"])
    assert (found["chosen"][rows] == some["chosen"]).all() and (found["rejected"][rows] == some["rejected"]).all()


def test_a_teacher_that_never_errs_is_refused_and_so_is_a_budget_in_passes() -> None:
    import dataclasses

    always = dataclasses.replace(problems(), check=lambda prompt, answer: True)
    with pytest.raises(ValueError, match="solved 24 and failed 0.*take a teacher that errs at times"):
        Traces(large_lm(), always, seed=1)(CONTEXT)
    method = REDI(tries=4, temperature=1e6)
    made = method.recipe(small_lm(), large_lm(), problems(), budget=Budget(epochs=4))
    with pytest.raises(ValueError, match=r"how many items .* set budget\.updates"):
        Trainer(quiet=True).fit(made)
