"""TinyCLIP: what it promises of affinity, inheritance and gates, and that all ways take the same updates."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from rows import ROWS, large_towers, pairs, slow_budget, small_towers
from test_every_method import CONTEXT, Tried, players, tried
from toy import fingerprint

from embodkd.core import Optimiser, Role, Schedule, Signals, Stage, Trainer, affinity, pair_contrast
from embodkd.core.batch.draws import seed_draws
from embodkd.methods import get_method, make_method
from embodkd.methods.tinyclip import paired
from embodkd.models import load_model, make_model, save_model
from embodkd.parts.networks.inheritance import Inherit
from embodkd.parts.players.parts import in_parts

ROW = ROWS["tinyclip"]
SAME = replace(ROW, student=large_towers)
PRUNING = {"mode": "automatic", "sparsity": (0.5,), "gate_rate": 0.3, "prune": 0.7}


def made(row: Any = ROW, **method: Any) -> Tried:
    return tried("tinyclip", row, method=method)


def first_values(try_: Tried) -> dict[str, torch.Tensor]:
    """The terms of the first stage on all training items, after the steps before it."""
    for step in try_.recipe.stages:
        if isinstance(step, Stage):
            break
        step(CONTEXT)
    assert isinstance(step, Stage)
    batch = Signals(dict(pairs().train.fields))
    player = step.players[0]
    batch = player.at(batch, 0, 1)
    s = player.train.signals(batch)
    return dict(player.terms(batch, s, **{k: a.signals(batch) for k, a in player.given.items()}))


def test_with_the_teachers_own_weights_the_loss_is_its_entropy_and_nothing_pulls() -> None:
    try_ = made(SAME)
    found = first_values(try_)
    t = Role(try_.teachers["teacher"], "frozen").signals(Signals(dict(pairs().train.fields)))
    cosine = t.image_ND @ t.text_ND.T
    p = torch.stack([(50 * cosine).softmax(1), (50 * cosine.T).softmax(1)])
    torch.testing.assert_close(found["affinity"], -(p * p.log()).sum(-1).mean(0), rtol=1e-4, atol=1e-4)
    found["affinity"].mean().backward()
    assert max(q.grad.abs().max().item() for q in try_.student.parameters() if q.grad is not None) < 1e-5
    assert all(q.grad is None for q in try_.teachers["teacher"].parameters())


def test_alpha_shares_the_loss_out_between_affinity_and_clip() -> None:
    for alpha, names in ((1.0, {"affinity"}), (0.0, {"clip"}), (0.3, {"affinity", "clip"})):
        (player,) = players(made(alpha=alpha, weight=2.0).recipe)
        weights = {name: w.start for name, w in player.ready_weights().items() if isinstance(w, Schedule)}
        assert weights == {k: v for k, v in {"affinity": 2 * alpha, "clip": 1 - alpha}.items() if k in names}
        assert ("t" in player.given) == (alpha > 0)
    found, model = first_values(made(alpha=0.3)), made(alpha=0.3)
    first_values(model)
    s = Role(model.student, "frozen").signals(Signals(dict(pairs().train.fields)))
    torch.testing.assert_close(found["clip"], pair_contrast(paired(s), scale=50.0), rtol=1e-4, atol=1e-4)


def test_a_constant_scale_is_the_students_in_the_end_and_its_own_one_learns() -> None:
    fixed, own = made().train(), made(kappa=None, alpha=0.5).train()
    assert fixed.student.log_scale().item() == pytest.approx(math.log(50.0))
    teacher = own.teachers["teacher"].log_scale().item()
    assert own.student.log_scale().item() != teacher
    assert abs(own.student.log_scale().item() - teacher) < 1.0


def test_with_scales_of_their_own_each_side_is_softened_by_its_own() -> None:
    try_ = made(kappa=None)
    with torch.no_grad():
        try_.teachers["teacher"].log_scale().fill_(1.0)
    found = first_values(try_)
    batch = Signals(dict(pairs().train.fields))
    s, t = (Role(m, "frozen").signals(batch) for m in (try_.student, try_.teachers["teacher"]))
    torch.testing.assert_close(s.scale_N, t.scale_N)
    expected = affinity(paired(s), paired(t), scale=math.e)
    torch.testing.assert_close(found["affinity"], expected, rtol=1e-4, atol=1e-4)


def towers(**options: Any) -> Any:
    return make_model(
        "towers", **pairs().facts(), **{"patch": 4, "head": 4, "joint": 8, "image_width": 8, "text_width": 8, **options}
    )


def test_twelve_layers_to_six_keep_the_even_ones_and_to_nine_the_first() -> None:
    source = towers(image_depth=12, text_depth=12)
    for depth, kept in ((6, range(0, 12, 2)), (9, range(9)), (12, range(12))):
        model = towers(image_depth=depth, text_depth=depth)
        Inherit(model, source)(CONTEXT)
        own, theirs = model.state_dict(), source.state_dict()
        for stack in model.stacks:
            for layer, taken in enumerate(kept):
                for part in ("self_attn.q_proj.weight", "mlp.fc2.bias", "layer_norm1.weight"):
                    assert torch.equal(own[f"{stack}.{layer}.{part}"], theirs[f"{stack}.{taken}.{part}"])
    assert fingerprint(model) == fingerprint(source)


def test_what_cannot_be_inherited_is_named() -> None:
    with pytest.raises(ValueError, match="cannot be inherited from a Towers"):
        Inherit(towers(joint=9), towers())(CONTEXT)
    with pytest.raises(ValueError, match="2 layers"):
        Inherit(towers(image_depth=2, text_depth=1), towers(image_depth=1, text_depth=1))(CONTEXT)


def test_networks_in_between_are_each_taught_by_the_same_teacher_within_one_budget() -> None:
    try_ = made(via=({"image_depth": 2, "image_width": 12}, {"image_width": 12}))
    stages = [stage for stage in try_.recipe.stages if isinstance(stage, Stage)]
    assert sum(stage.updates() for stage in stages) == slow_budget().epochs * 3
    models = [stage.players[0].train.model for stage in stages]
    assert models[-1] is try_.student and [len(m.backbone.vision_model.encoder.layers) for m in models] == [2, 1, 1]
    assert all(stage.players[0].given["t"].model is try_.teachers["teacher"] for stage in stages)
    try_.train()


@pytest.mark.parametrize(
    "method", [{}, {"mode": "scratch"}, {"via": ({"image_depth": 2},)}, PRUNING, {**PRUNING, "sparsity": (0.2, 0.5)}]
)
def test_every_way_takes_the_same_updates(method: dict[str, Any]) -> None:
    row = SAME if method.get("mode") == "automatic" else ROW
    stages = [
        stage for stage in tried("tinyclip", row, method=method, epochs=7).recipe.stages if isinstance(stage, Stage)
    ]
    assert sum(stage.updates() for stage in stages) == 21


def test_a_budget_in_parts_is_the_whole_one() -> None:
    data = pairs()
    for shares in ([1.0, 2.0, 3.0], [0.4, 0.6], [1.0] * 5):
        assert sum(b.updates for b in in_parts(slow_budget(epochs=7), data.train, shares)) == 21
    assert [b.updates for b in in_parts(slow_budget(updates=2), data.train, [1.0] * 3)] == [1, 1, 1]


def pruned(**method: Any) -> Tried:
    torch.manual_seed(0)
    return tried("tinyclip", SAME, method={**PRUNING, **method}, epochs=40).train(log_every=1)


def test_gates_leave_about_the_share_that_was_asked_for_and_the_folder_holds_what_is_left(tmp_path: Any) -> None:
    try_ = pruned()
    before, after = (sum(p.numel() for p in m.parameters()) for m in (large_towers(), try_.student))
    # heads of a network this small are a tenth of it each
    assert 1 - after / before == pytest.approx(0.5, abs=0.15)
    loaded, config = load_model(save_model(tmp_path / "m", try_.student))
    x = {name: value[:4] for name, value in pairs().test.fields.items() if name in loaded.reads}
    with torch.no_grad():
        assert torch.equal(loaded(x)["logits"], try_.student.eval()(x)["logits"])
    assert config["arguments"]["image_depth"] == 2 and config["arguments"]["pruned"]


def test_open_gates_are_the_plain_network_and_a_second_stage_begins_with_what_the_first_left() -> None:
    try_ = made(SAME, **{**PRUNING, "sparsity": (0.3, 0.6)})
    opened, gates, fused, _, again = try_.recipe.stages[:5]
    batch = Signals(dict(pairs().test.fields))
    opened(CONTEXT)
    gated = gates.players[0].train.model
    whole, plain = (Role(m, "frozen").signals(batch) for m in (gated.model, try_.teachers["teacher"]))
    torch.testing.assert_close(whole.image, plain.image)
    ones = {name: torch.ones_like(gate.logits) for name, gate in gated.gates.items()}
    x = {name: batch[name] for name in gated.reads}
    with torch.no_grad():
        torch.testing.assert_close(gated.masked(ones, x)["text"], plain.text)
        # 10 of 12 channels of each tower, one head of the first layers, all of the rest
        for name, gate in gated.gates.items():
            shut = 2 if "channels" in name else int(name.endswith("heads_0"))
            gate.logits[len(gate.logits) - shut :] = -10.0
    fused(CONTEXT)
    assert try_.student.backbone.vision_model.encoder.layers[0].self_attn.q_proj.weight.shape == (8, 10)
    again(CONTEXT)
    small, large = (Role(m, "frozen").signals(batch) for m in (try_.student, gated))
    torch.testing.assert_close(large.image, small.image, rtol=1e-3, atol=1e-3)
    shut = {name: int((gate.logits < 0).sum()) for name, gate in gated.gates.items()}
    assert shut == {n: 2 if "channels" in n else int(n.endswith("heads_0")) for n in shut}


def test_a_stage_of_gates_has_its_own_rates() -> None:
    row = replace(SAME, budget=partial(slow_budget, optimiser=Optimiser("adamw", 0.002, weight_decay=0.2)))
    gates = tried("tinyclip", row, method=PRUNING, epochs=10).recipe.stages[1]
    learner, climber = gates.players
    total = gates.updates()
    named = learner.named_parameters()
    bundles = learner.optimiser.bundles(named)
    rate = learner.optimiser.rate().at(0, total)
    for bundle in bundles:
        of_gates = bundle.names[0].startswith("gates.")
        assert (bundle.weight_decay == 0.0) == of_gates
        reached = [rate * bundle.factor(step, total) for step in (0, total - 1)]
        assert reached == pytest.approx([0.3, 0.3] if of_gates else [0.002 / total, 0.002])
    assert climber.ascent and climber.optimiser.weight_decay == 0.0
    targets = [climber.curves()["target"].at(step, total) for step in range(total)]
    assert targets[0] == 0.0 and targets[-1] == 0.5 and targets == sorted(targets)
    assert targets.index(0.5) == round(0.33 * total)


def test_draws_of_gates_are_the_same_for_the_same_key() -> None:
    gated = made(SAME, **PRUNING).recipe.stages[1].players[0].train.model.train()
    with torch.no_grad():
        gated.gates["text_channels"].logits.zero_()
    drawn = []
    for key in (1, 1, 2):
        seed_draws(torch.device("cpu"), key)
        drawn.append(gated.gates["text_channels"]())
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ({"mode": "scratch", "via": [{"image_width": 8}]}, "belongs to mode=manual"),
        ({"sparsity": [0.5, 0.2]}, "must grow"),
        ({"sparsity": []}, "must grow"),
        ({"mode": "magic"}, "magic"),
        ({"alpha": 1.5}, "alpha"),
    ],
)
def test_impossible_options_are_refused(method: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make_method({"name": "tinyclip", **method}, "pairs")


def test_what_does_not_fit_is_said_before_anything_is_trained() -> None:
    with pytest.raises(ValueError, match="prunes a student of the teacher's size"):
        made(ROW, **PRUNING)
    with pytest.raises(ValueError, match="groups of their own"):
        tried("tinyclip", SAME, method=PRUNING, optimiser=Optimiser(layer_decay=0.5))
    with pytest.raises(ValueError, match="method tinyclip: via: unknown key 'image_widht'"):
        made(via=({"image_widht": 8},))
    with pytest.raises(ValueError, match="learns from pairs"):
        make_method({"name": "tinyclip"}, "splits")


def test_supervised_learning_of_pairs_is_the_loss_of_clip_and_its_scale_learns() -> None:
    student, data = small_towers(), pairs()
    before = copy.deepcopy(student)
    recipe = get_method("supervised")().recipe(student, None, data, budget=slow_budget())
    batch = Signals(dict(data.train.fields))
    (player,) = players(recipe)
    s = player.train.signals(batch)
    torch.testing.assert_close(player.terms(batch, s)["ce"], pair_contrast(paired(s), scale=14.3))
    Trainer(seed=0, quiet=True).fit(recipe)
    assert student.log_scale().item() != before.log_scale().item()
    for wrong in ({"shift": 1}, {"label_smoothing": 0.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            get_method("supervised")(**wrong).recipe(student, None, data, budget=slow_budget())
