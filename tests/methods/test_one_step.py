"""One call instead of many: where a student starts, what it follows, and that it ends nearer to its teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from embodkd.policies import Policy, make_policy
from toy import fingerprint

from embodkd.core import Trainer
from embodkd.core.sources.group import GroupFacts
from embodkd.data.windows import Chunks, chunks_of
from embodkd.methods.chunk_bc import ChunkBC
from embodkd.methods.one_step import OneStep

GROUPS = {"proprio": GroupFacts("proprio", (3,), False)}
SHAPE = {"vectors": ("proprio",), "horizon": 8, "execute": 4, "widths": (16, 32)}


def policy(steps: int, **options) -> Policy:
    return make_policy("diffusion", GROUPS, 2, **{**SHAPE, **options}, steps=steps)


def demos() -> Chunks:
    generator = np.random.default_rng(0)
    seen = generator.uniform(-1, 1, (90, 3)).astype(np.float32)
    actions = np.tanh(seen @ generator.normal(size=(3, 2)).astype(np.float32)) * 0.5
    return chunks_of({"proprio": seen}, actions, [30, 30, 30], horizon=8, execute=4, held_out=0.2)


@pytest.fixture(scope="module")
def teacher() -> Policy:
    torch.manual_seed(0)
    made = policy(steps=4)
    recipe = ChunkBC(rounds=1, updates_per_round=250, batch_size=32, learning_rate=2e-3, warmup=20).recipe(
        made, None, demos()
    )
    Trainer(seed=0, quiet=True).fit(recipe)
    return made.eval()


def gap(student: Policy, teacher: Policy) -> float:
    """Mean squared distance of both ends from the same starts, on windows that nobody was trained on."""
    held = demos().held_out
    batch = held.gather(np.arange(held.size()), 0)
    obs = {"proprio": batch["proprio"]}
    plan = torch.zeros(held.size(), 8, 2)
    with torch.no_grad():
        return float((student.chunk(obs, plan) - teacher.chunk(obs, plan)).square().mean())


def test_one_step_is_one_call_of_the_network_and_the_end_is_the_formulas(teacher):
    one, calls = policy(steps=1), []
    one.load_state_dict(teacher.state_dict())
    one.unet.register_forward_hook(lambda module, args, out: calls.append((args[1], out)))
    obs, plan = {"proprio": torch.randn(5, 3)}, torch.zeros(5, 8, 2)
    start = one.warm_start(plan, torch.randn_like(plan))
    end = one.denoise(start, one.condition(obs))
    ((level_N, noise),) = calls
    kept = one.scheduler.alphas_cumprod[50]
    assert (level_N == 50).all()
    torch.testing.assert_close(end, ((start - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1))


def test_a_student_with_its_teachers_sampler_has_nothing_to_learn(teacher):
    student = policy(steps=4)
    recipe = OneStep().recipe(student, teacher, demos())
    take_over, stage = recipe.stages
    take_over(None)
    (player,), (starts,) = stage.players, stage.prepare
    batch = stage.source.gather(np.arange(8), 0)
    batch = batch.merge(**starts(batch))
    student.eval()
    terms = player.terms(batch, player.train.signals(batch), player.given["t"].signals(batch))
    torch.testing.assert_close(terms["end"], torch.zeros(8))


def test_it_ends_nearer_to_its_teacher_than_a_single_step_of_the_same_weights(teacher):
    before, student = policy(steps=1), policy(steps=1)
    before.load_state_dict(teacher.state_dict())
    weights = fingerprint(teacher)
    recipe = OneStep(rounds=1, updates_per_round=200, batch_size=32, learning_rate=1e-3, warmup=10).recipe(
        student, teacher, demos()
    )
    Trainer(seed=0, quiet=True).fit(recipe)
    assert gap(student.eval(), teacher) < 0.6 * gap(before.eval(), teacher)
    assert fingerprint(teacher) == weights


def test_a_student_of_another_build_is_refused(teacher):
    for options in ({"widths": (16, 16)}, {"warm_start": "cold"}):
        with pytest.raises(ValueError, match="built as its teacher"):
            OneStep().recipe(policy(steps=1, **options), teacher, demos())
