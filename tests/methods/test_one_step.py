"""One call instead of many: where a student starts, what it follows, and that it ends nearer to its teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from embodkd.policies import Policy, make_policy
from torch import Tensor
from toy import fingerprint

from embodkd.core import Signals, Trainer
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
    history = student.beginning(obs)._replace(begins_N=torch.arange(held.size()) % 2 == 0)
    with torch.no_grad():
        return float((student.chunk(obs, history) - teacher.chunk(obs, history)).square().mean())


def targets(student: Policy, teacher: Policy, **settings) -> tuple[Signals, Tensor, Tensor]:
    """A batch of the recipe with its plans and noise, and what student and teacher make of it."""
    take_over, stage = OneStep(**settings).recipe(student, teacher, demos()).stages
    take_over(None)
    (player,), (starts,) = stage.players, stage.prepare
    batch = stage.source.gather(np.arange(16), 0)
    batch = batch.merge(**starts(batch))
    student.eval()
    with torch.no_grad():
        return batch, player.train.signals(batch).chunk, player.given["t"].signals(batch).chunk


def test_first_chunks_follow_the_teachers_cold_sample_from_the_same_noise_others_its_warm_one(teacher):
    cold = policy(steps=4, warm_start="cold")
    cold.load_state_dict(teacher.state_dict())
    batch, found, target = targets(policy(steps=1), teacher, first_chunks=0.5)
    first, condition = batch["begins"], teacher.condition(batch)
    assert first.any() and not first.all()
    noise, kept = batch["noise"], teacher.scheduler.alphas_cumprod[50]
    with torch.no_grad():
        sampled = cold.denoise(noise, condition, [75, 50, 25, 0])
        start = torch.where(first[:, None, None], 0.0, batch["plan"]) * kept.sqrt() + (1 - kept).sqrt() * noise
        followed = teacher.denoise(start, condition, [50, 25, 0])
        guess = teacher.unet(start, torch.full((16,), 50.0), condition)
    torch.testing.assert_close(target[first], sampled[first])
    torch.testing.assert_close(target[~first], followed[~first])
    torch.testing.assert_close(found, ((start - (1 - kept).sqrt() * guess) / kept.sqrt()).clamp(-1, 1))


def test_a_student_with_its_teachers_sampler_has_nothing_to_learn(teacher):
    _, found, target = targets(policy(steps=4), teacher)
    torch.testing.assert_close(found, target)


def test_it_ends_nearer_to_its_teacher_than_a_single_step_of_the_same_weights(teacher):
    before, student = policy(steps=1), policy(steps=1)
    before.load_state_dict(teacher.state_dict())
    weights = fingerprint(teacher)
    recipe = OneStep(rounds=1, updates_per_round=90, batch_size=32, learning_rate=1e-3, warmup=10).recipe(
        student, teacher, demos()
    )
    Trainer(seed=0, quiet=True).fit(recipe)
    assert gap(student.eval(), teacher) < 0.6 * gap(before.eval(), teacher)
    assert fingerprint(teacher) == weights


def test_a_network_of_other_widths_takes_over_the_ranges_and_learns_it_too(teacher):
    student = policy(steps=1, widths=(24, 24))
    recipe = OneStep(rounds=1, updates_per_round=150, batch_size=32, learning_rate=3e-3, warmup=10).recipe(
        student, teacher, demos()
    )
    before = policy(steps=1, widths=(24, 24))
    for name, tensor in teacher.state_dict().items():
        if not name.startswith("unet."):
            before.state_dict()[name].copy_(tensor)
    Trainer(seed=0, quiet=True).fit(recipe)
    assert gap(student.eval(), teacher) < 0.6 * gap(before.eval(), teacher)
    for name, tensor in teacher.state_dict().items():
        if not name.startswith("unet."):
            assert torch.equal(student.state_dict()[name], tensor), name


def test_a_student_that_sees_or_predicts_something_else_is_refused(teacher):
    for options in ({"steps": 1, "execute": 1}, {"steps": 2, "warm_start": "cold"}):
        with pytest.raises(ValueError, match="what its teacher does"):
            OneStep().recipe(policy(**options), teacher, demos())
