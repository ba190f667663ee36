"""TRL's trainers make our updates: the same losses and the same weights on the same texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks import trl, trl_theirs
from benchmarks.trl_work import Work, student, texts, tokenizer
from embodkd.core import Recipe, Signals, Trainer

pytest.importorskip("transformers", reason="extra language is not installed")
SIZE: dict[str, Any] = {"updates": 3, "batch": 2, "prompt": 3, "length": 8, "width": 16, "depth": 1}
WORK = Work(**SIZE, teacher_depth=2, vocabulary=13, repeats=2)
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*checkpointing. is deprecated:FutureWarning"),  # of TRL's own calls
    pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'"),
]
with_trl = pytest.mark.skipif(not trl_theirs.installed(), reason="TRL is not installed: see benchmarks/trl.py")


def ours(recipe: Recipe) -> tuple[list[float], list[Signals], dict[str, torch.Tensor]]:
    """What each update came to, the batches, and the weights afterwards."""
    (stage,) = [stage for stage in recipe.stages if hasattr(stage, "players")]
    (player,), losses, batches = stage.players, [], []

    def watched(batch: Signals, *given: Signals, **more: Signals) -> dict[str, torch.Tensor]:
        terms = player.terms(batch, *given, **more)
        (value,) = [value for name, value in terms.items() if name not in player.logged]
        losses.append(float(value.detach().mean()))
        batches.append(batch)
        return terms

    stage = replace(stage, players=(replace(player, terms=watched),))
    Trainer(quiet=True).fit(Recipe((*recipe.stages[:-1], stage), recipe.product))
    return losses, batches, recipe.product.backbone.state_dict()


def theirs(trainer: Any) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The same of TRL."""
    compute, losses = trainer.compute_loss, []

    def watched(*given: Any, **more: Any) -> torch.Tensor:
        loss = compute(*given, **more)
        losses.append(float(loss.detach()))
        return loss

    trainer.compute_loss = watched
    trainer.train()
    return losses, trainer.model.state_dict()


def check_same(work: Work, own: Any, other: Any) -> None:
    start = student(work).backbone.state_dict()
    (losses, _, weights), (their_losses, their_weights) = own, other
    assert len(losses) == work.updates and losses == pytest.approx(their_losses, rel=1e-5)
    for name, value in weights.items():
        torch.testing.assert_close(value, their_weights[name], rtol=1e-4, atol=2e-5)
    moved = max(float((value - start[name]).abs().max()) for name, value in weights.items())
    assert moved > 1e-3  # a hundred times what is let pass


@with_trl
@pytest.mark.parametrize(("divergence", "beta"), [("forward", 0.5), ("reverse", 0.5), ("js", 0.5), ("js", 0.2)])
def test_gkd_on_given_texts_is_the_second_stage_of_teacher_hacking(divergence: Any, beta: float) -> None:
    work = replace(WORK, divergence=divergence, beta=beta)
    check_same(work, ours(trl.gkd(work, "offline")), theirs(trl_theirs.gkd(work, False)))


@with_trl
def test_dpo_is_the_second_stage_of_redi_with_dpo() -> None:
    check_same(WORK, ours(trl.dpo(WORK)), theirs(trl_theirs.dpo(WORK)))


@with_trl
def test_gkd_on_the_texts_that_our_student_wrote_goes_where_it_went() -> None:
    own = ours(trl.gkd(WORK, "online_student"))
    tokens_NT = torch.cat([batch.tokens_NT for batch in own[1]])
    check_same(WORK, own, theirs(trl_theirs.gkd(WORK, False, tokens_NT)))


@with_trl
def test_both_write_texts_of_full_length_to_the_same_prompts() -> None:
    work = replace(WORK, updates=16)
    (_, batches, _), trainer = ours(trl.gkd(work, "online_student")), trl_theirs.gkd(work, True)
    write, written = trainer.generate_on_policy_outputs, []

    def watched(*given: Any) -> Any:
        written.append(write(*given))
        return written[-1]

    trainer.generate_on_policy_outputs = watched
    trainer.train()
    (own_NT, mask_NT), length = (torch.cat([batch[name] for batch in batches]) for name in ("tokens", "mask")), 8
    tokens_NT, there_NT, labels_NT = (torch.cat(found) for found in zip(*written, strict=True))
    assert own_NT.shape == mask_NT.shape == (32, length) and tokens_NT.shape == (32, length + 1)
    assert bool(there_NT.all()) and (tokens_NT[:, 0] == tokenizer(work).start).all()
    assert mask_NT.sum() == (labels_NT != -100).sum() == 32 * 5
    wanted = sorted(texts(work).extra["pool"].fields["tokens"][:, :3].tolist())
    assert wanted == sorted(own_NT[:, :3].tolist()) == sorted(tokens_NT[:, 1:4].tolist())
    # somebody wrote the token that ends texts, and went on
    assert (own_NT[:, 3:-1] == tokenizer(work).end).any() and (tokens_NT[:, 4:-1] == tokenizer(work).end).any()


@with_trl
def test_three_lines() -> None:
    lines = trl.lines(WORK)
    assert [(line.target, line.sense) for line in lines] == [(1.0, ">=")] * 3
    assert all(line.value > 0 and line.command == trl.COMMAND and line.details["trl"] for line in lines)


def test_a_missing_trl_names_its_environment_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl_theirs, "installed", lambda: False)
    monkeypatch.setattr(trl, "take_turns", lambda *_: pytest.fail("measured"))
    with pytest.raises(ValueError, match=r"pip install trl==1\.16\.0"):
        trl.lines(WORK)
