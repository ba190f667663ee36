"""Momentum-GS: its identities, against loops written out and constant targets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from toy import fingerprint, signalled, stops_until
from views import GROWING, recipe, rooms, scene

from embodkd.core import Context, Player, Recipe, RunFolder, Signals, Stage, Trainer
from embodkd.core.engine.members import learning_modules
from embodkd.core.engine.position import Position, batches
from embodkd.core.runs.stopping import Stopped
from embodkd.models import load_model, save_model
from embodkd.models.scenes.scaffold_gs import ScaffoldGS
from embodkd.parts.images.similarity import ssim
from embodkd.parts.self_distillation.momentum import Momentum
from embodkd.parts.splats.agreement import disagreement, mean_over
from embodkd.parts.splats.block_weights import BlockWeights

CONTEXT = Context(None, 0, torch.device("cpu"))


def trained(student: ScaffoldGS | None = None, trainer: type[Trainer] = Trainer, **options: Any) -> ScaffoldGS:
    made = recipe(student, **options)
    trainer(quiet=True, seed=3, log_every=1).fit(made)
    assert isinstance(made.product, ScaffoldGS)
    return made.product


def players(made: Recipe) -> Iterator[Player]:
    yield from (stage.players[0] for stage in made.stages if isinstance(stage, Stage))


def logged(**options: Any) -> list[dict[str, float]]:
    class Told(Trainer):
        def _log(self, at: Any, scalars: Any, summary: Any) -> None:
            rows.append(dict(scalars))
            super()._log(at, scalars, summary)

    rows: list[dict[str, float]] = []
    trained(trainer=Told, **options)
    return rows


def consistencies(rows: list[dict[str, float]]) -> list[float]:
    return [value for row in rows for name, value in row.items() if name.endswith("/consistency")]


# 1: the running average


def test_an_average_that_keeps_nothing_is_the_decoder_and_changes_nothing():
    """Coefficient 0: no disagreement at any forward pass, and the same bits as without the term."""
    assert set(consistencies(logged(coefficient=0.0))) == {0.0}
    assert fingerprint(trained(coefficient=0.0)) == fingerprint(trained(consistency=0.0))


def test_an_average_that_keeps_everything_stays_the_first_decoder():
    student = scene()
    first = fingerprint(student.decoders[0])
    made = recipe(student, coefficient=1.0)
    Trainer(quiet=True, seed=3).fit(made)
    (average,) = {role.model for player in players(made) for m in player.given.values() for role in m.roles()}
    assert fingerprint(average) == first != fingerprint(student.decoders[0])


def test_the_average_moves_before_each_forward_pass(monkeypatch: pytest.MonkeyPatch):
    """m <- 0.9 m + 0.1 decoder with the decoder that is about to answer; at the first one both are the same."""
    seen: list[tuple[list[Tensor], list[Tensor]]] = []
    ask = Momentum.signals

    def watched(self: Momentum, batch: Signals) -> Signals:
        own, other = self.role.model.parameters(), student.decoders[0].parameters()
        seen.append(([p.detach().clone() for p in own], [p.detach().clone() for p in other]))
        return ask(self, batch)

    monkeypatch.setattr(Momentum, "signals", watched)
    student = scene()
    trained(student, coefficient=0.9)
    assert len(seen) == 10  # but for the last round's frozen turn
    assert all(torch.equal(m, d) for m, d in zip(*seen[0], strict=True))
    for (before, _), (after, decoder) in pairwise(seen):
        for m, n, d in zip(before, after, decoder, strict=True):
            torch.testing.assert_close(n, 0.9 * m + 0.1 * d)


def test_the_term_matters():
    assert min(consistencies(logged())[3:]) > 0.0
    assert fingerprint(trained()) != fingerprint(trained(consistency=0.0))


# 2: plain training of blocks that share a decoder


def test_without_term_and_weights_blocks_learn_as_in_a_loop_with_an_adam_each():
    """Against torch's Adam by hand: one per block over its anchors and the decoder, kept from turn to turn."""
    data = rooms()
    options = {"consistency": 0.0, "measure": 0, "freeze": False}
    found = trained(**options)
    student = scene()
    made = recipe(student, **options)
    adams: dict[int, torch.optim.Adam] = {}
    stages = [stage for stage in made.stages if isinstance(stage, Stage)]
    for number, stage in enumerate(stages):
        block = number % 2
        own = {n: p for n, p in student.named_parameters() if n.startswith((f"blocks.{block}.", "decoders."))}
        adam = adams.setdefault(block, torch.optim.Adam([{"params": [p]} for p in own.values()], eps=1e-15))
        for step, (index, _) in enumerate(batches(stage, Position(trained_stages=number), 3, 1, lambda: None)):
            # updates of a block: two in each of its three turns; the published rates
            done = (2 * (number // 2) + step) / 5
            for group, name in zip(adam.param_groups, own, strict=True):
                group["lr"] = _rate(name, done)
            batch = data.train.gather(index, 0)
            s = Signals(student({"pose": batch.pose, "intrinsics": batch.intrinsics, "block": block}))
            loss_N = 0.8 * (s["image"] - batch.image).abs().mean((1, 2, 3)) + 0.2 * (1 - ssim(s["image"], batch.image))
            loss_N = loss_N + 0.01 * mean_over(s["scale"].prod(-1), s["drawn"])
            adam.zero_grad()
            loss_N.mean().backward()
            adam.step()
    student.merge()
    for (name, value), other in zip(found.state_dict().items(), student.state_dict().values(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def _rate(name: str, done: float) -> float:
    first, last = next(
        rates
        for part, rates in {
            "feature": (0.0075, 0.0075), "offset": (0.01, 0.0001), "size": (0.007, 0.007),
            "opacity": (0.002, 0.00002), "covariance": (0.004, 0.004), "colour": (0.008, 0.00005),
        }.items()
        if part in name
    )  # fmt: skip
    return first * (last / first) ** min(1.0, done / 0.5)


def test_a_single_block_has_no_weights():
    made = recipe(scene(blocks="one"))
    assert not any(getattr(stage, "func", None) for stage in made.stages)  # nothing is measured
    assert any(getattr(stage, "func", None) for stage in recipe().stages)
    assert BlockWeights(1, 10.0, 0.9)().tolist() == [1.0]
    (name,) = {player.name for player in players(made)}
    assert sum(stage.updates() for stage in made.stages if isinstance(stage, Stage)) == 12 and name == "block_0"


# 3: gradients


@pytest.mark.parametrize("detach", [False, True])
def test_what_the_average_sends_back(detach: bool):
    """Never to its own parameters; to the features only if it is not detached, where it equals a constant target."""
    student = scene().double()
    student.place(rooms().points.double())
    batch = rooms().train.gather(np.arange(3), 0)
    with torch.no_grad():
        for parameter in student.blocks[0].parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).to(parameter)
    asked = lambda batch: {"input": batch["s.input"], "size": batch["s.size"]}  # noqa: E731
    average = Momentum(student.decoders[0], 0.9, view=asked, detach=detach)
    with torch.no_grad():
        for parameter in average.role.model.parameters():
            parameter += 0.05
    s = Signals(student({"pose": batch.pose.double(), "intrinsics": batch.intrinsics.double(), "block": 0}))
    shown = batch.merge(**{f"s.{name}": value for name, value in s.items()})
    m = average.signals(shown)
    constant = m.map(Tensor.detach)
    own = [student.of(0).feature, student.of(0).size, *student.decoders[0].parameters()]
    found = torch.autograd.grad(disagreement(s, m).mean(), own, retain_graph=True)
    wanted = torch.autograd.grad(disagreement(s, constant).mean(), own, retain_graph=True)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in average.role.model.parameters())
    for name, a, b in zip(("feature", "size"), found, wanted, strict=False):
        assert torch.allclose(a, b) == detach, name
    # the decoder's own gradient is the same either way
    for a, b in zip(found[2:], wanted[2:], strict=True):
        torch.testing.assert_close(a, b)


def test_the_mask_is_the_learners_and_an_empty_one_counts_nothing():
    g = torch.Generator().manual_seed(0)

    def answer(sign: float) -> dict[str, Tensor]:
        shapes = {"opacity": (2, 3, 2), "colour": (2, 3, 2, 3), "scale": (2, 3, 2, 3), "rotation": (2, 3, 2, 4)}
        made = {name: torch.rand(shape, generator=g).double() for name, shape in shapes.items()}
        return {**made, "opacity": sign * made["opacity"]}

    s, m = answer(1.0), answer(-1.0)
    s["opacity"][0, 0], s["opacity"][1] = -0.5, -0.5
    view = torch.tensor([[True, True, False], [True, True, True]])
    s |= {"view": view, "drawn": view[..., None] & (s["opacity"] > 0)}
    found = disagreement(Signals(s), Signals(m))
    drawn = s["opacity"][0, 1] > 0
    slow = sum(((s[n] - m[n])[0, 1][drawn] ** 2).mean() for n in ("colour", "rotation", "scale"))
    slow = slow + ((s["opacity"] - m["opacity"])[0, :2] ** 2).mean()
    torch.testing.assert_close(found[0], slow)
    torch.testing.assert_close(found[1], ((s["opacity"] - m["opacity"])[1] ** 2).mean())


# 4: weights


def test_weights_are_the_published_ones():
    weights = BlockWeights(4, 10.0, 0.9)
    for block, (psnr, ssim_) in enumerate([(24, 0.80), (21.5, 0.83), (22, 0.70), (18, 0.60)]):
        weights.measured(block, psnr, ssim_)
    torch.testing.assert_close(weights(), torch.tensor([1.0004, 1.0308, 1.0280, 1.1865]), rtol=0, atol=1e-4)


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(-1, 1)), min_size=1, max_size=6), st.floats(0.5, 20))
def test_weights_lie_from_1_to_2_and_rise_with_the_gap(measures: list[tuple[float, float]], sigma: float):
    weights = BlockWeights(len(measures), sigma, 0.9)
    for block, (psnr, ssim_) in enumerate(measures):
        weights.measured(block, psnr, ssim_)
    found = weights().tolist()
    assert all(1.0 <= w <= 2.0 for w in found)
    even = BlockWeights(len(measures), sigma, 0.9)
    for block, (psnr, _) in enumerate(measures):
        even.measured(block, psnr, 0.5)
    by_psnr = [w for _, w in sorted(zip((p for p, _ in measures), even().tolist(), strict=True))]
    assert by_psnr == sorted(by_psnr, reverse=True) and by_psnr[-1] == 1.0


def test_blocks_that_were_not_measured_weigh_1_and_are_no_best():
    weights = BlockWeights(3, 1.0, 0.75)
    assert weights().tolist() == [1.0, 1.0, 1.0]
    weights.measured(1, 20.0, 0.5)
    assert weights().tolist() == [1.0, 1.0, 1.0]
    weights.measured(2, 21.0, 0.5)
    assert weights()[0] == 1.0 < weights()[1] and weights()[2] == 1.0
    weights.measured(1, 24.0, 0.5)
    assert weights.psnr_B[1].item() == pytest.approx(0.75 * 20 + 0.25 * 24)


def test_a_weight_multiplies_reconstruction_and_consistency():
    """With a block's weight at 1.5 the gradient is one and a half times as large, all terms alike."""
    made = recipe()
    player = next(players(made))
    batch = rooms().train.gather(np.arange(3), 0)
    weights = player.helpers["weights"]
    assert isinstance(weights, BlockWeights)
    s = player.train.signals(batch)
    before = {n: w(batch, s, m=s) for n, w in player.ready_weights().items()}
    assert before.keys() == {"l1", "structure", "volume", "consistency"}
    weights.measured(0, 20.0, 0.5)
    weights.measured(1, 24.0, 0.5)
    for name, weight in player.ready_weights().items():
        torch.testing.assert_close(weight(batch, s, m=s), before[name] * weights()[0])
        assert weights()[0] > 1.2


# 5: the last round, and the merge


def test_in_the_last_round_the_decoder_stays_as_the_first_block_leaves_it():
    states: list[str] = []

    class Watching(Trainer):
        def _stage(self, stage: Stage, *rest: Any) -> None:
            super()._stage(stage, *rest)
            states.append((stage.players[0].name, fingerprint(student.decoders[0])))

    student = scene(rooms(3))
    made = recipe(student, rooms(3), updates=18)
    frozen = [player for player in players(made) if "m" not in player.given]
    assert [player.name for player in frozen] == ["block_1", "block_2"]
    assert all(player.ready_weights().keys() == {"l1", "structure", "volume"} for player in frozen)
    Watching(quiet=True, seed=3).fit(made)
    assert [name for name, _ in states] == ["block_0", "block_1", "block_2"] * 3
    assert len({state for _, state in states[:7]}) == 7 and len({state for _, state in states[6:]}) == 1


def test_merging_leaves_the_picture_and_takes_what_is_outside():
    student = scene()
    student.place(rooms().points)
    x = {name: rooms().test.fields[name] for name in ("pose", "intrinsics")}
    before, count = student(x)["image"], [len(anchors.position) for anchors in student.blocks]
    student.merge()
    assert torch.equal(student(x)["image"], before)
    assert [len(anchors.position) for anchors in student.blocks] == [12, 12] and count == [17, 17]


def test_a_blocks_own_view_is_the_whole_scenes_where_no_other_block_is_in_it():
    """All its anchors in its cell, and a camera that looks away from the others."""
    student = scene(margin=0)
    student.place(rooms().points)
    with torch.no_grad():
        student.decoders[0].opacity[2].bias += 1.0  # nothing is empty
    x = student.golden_input(1)
    x["pose"][:, :3, 3] = torch.tensor([4.0, 1.5, 1.2])  # in the second room, looking along x
    assert torch.equal(student(x)["image"], student({**x, "block": 1})["image"])
    assert student(x)["image"].any() and not torch.equal(student(x)["image"], student({**x, "block": 0})["image"])


# 6: more blocks than workers is every test here; two processes: test_processes.py


def test_blocks_take_turns_until_each_has_had_its_updates():
    made = recipe(updates=10)
    turns = [(stage.players[0].name, stage.updates()) for stage in made.stages if isinstance(stage, Stage)]
    assert turns == [("block_0", 2), ("block_1", 2), ("block_0", 2), ("block_1", 2), ("block_0", 1), ("block_1", 1)]


def test_a_block_learns_from_views_that_show_enough_of_it():
    share_NC = rooms().train.fields["share"]
    made = recipe(contribution=0.4)
    for stage, block in zip((s for s in made.stages if isinstance(s, Stage)), (0, 1), strict=False):
        assert stage.source.size() == int((share_NC[:, block] >= 0.4).sum()) < 12
    with pytest.raises(ValueError, match="train: no view shows 100% of block"):
        recipe(data=rooms(3), contribution=1.0)


# growth


def test_growing_goes_on_bit_for_bit_from_wherever_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(folder: str) -> bytes:
        made = recipe(**GROWING)
        with RunFolder.open(tmp_path / folder, {}, resume=True) as opened:
            Trainer(opened, seed=3, quiet=True, checkpoint_s=0.0).fit(made)
        return b"".join(map(fingerprint, learning_modules(made)))

    whole = run("whole")
    with signalled(Trainer, "_update", at=7), pytest.raises(Stopped):
        run("asked")
    assert run("asked") == whole
    assert stops_until(whole, lambda: run("broken"), monkeypatch, most=200) >= 1


def test_a_grown_scene_is_stored_and_loaded(tmp_path: Path):
    student = trained(**GROWING)
    assert {len(anchors.position) for anchors in student.blocks} != {12}
    loaded, config = load_model(save_model(tmp_path / "model", student))
    x = {name: rooms().test.fields[name] for name in ("pose", "intrinsics")}
    assert torch.equal(loaded(x)["image"], student(x)["image"]) and config["cells"] == [2, 1, 1]


def test_other_models_and_teachers_are_refused():
    with pytest.raises(ValueError, match="trains a scaffold_gs"):
        recipe(torch.nn.Linear(1, 1))  # type: ignore[arg-type]
