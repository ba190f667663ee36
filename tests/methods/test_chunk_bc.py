"""Behaviour cloning of chunks: ranges first, then the student's own loss on windows, then the held-out error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from embodkd.policies import Policy, make_policy
from toy import fingerprint

from embodkd.core import RunFolder, Summary, Trainer
from embodkd.core.sources.group import GroupFacts
from embodkd.data.windows import Chunks, chunks_of
from embodkd.methods.chunk_bc import ChunkBC

GROUPS = {"robot": GroupFacts("robot", (3,), False), "parts": GroupFacts("parts", (2,), True)}
LENGTHS = [30, 20, 25]
STUDENTS = {
    "mlp_chunk": {"horizon": 4, "width": 32, "blocks": 1, "dropout": 0.0},
    "diffusion": {"horizon": 8, "execute": 4, "widths": (16, 32)},
}
SHORT = {"rounds": 2, "updates_per_round": 3, "batch_size": 16, "warmup": 2, "learning_rate": 1e-3}


def student(name: str = "mlp_chunk", vectors: tuple[str, ...] = ("robot",)) -> Policy:
    torch.manual_seed(1)
    return make_policy(name, GROUPS, 2, vectors=vectors, **STUDENTS[name])


def demos(policy: Policy, actions: np.ndarray | None = None) -> Chunks:
    """Episodes in which the action is linear in what the robot sees, unless others are given."""
    generator = np.random.default_rng(0)
    frames = {n: generator.uniform(-2, 3, (sum(LENGTHS), *g.shape)).astype(np.float32) for n, g in GROUPS.items()}
    if actions is None:
        actions = frames["robot"] @ np.array([[0.2, 0.0], [-0.1, 0.1], [0.0, 0.2]], np.float32)
    return chunks_of(frames, actions, LENGTHS, horizon=policy.horizon, execute=policy.execute, held_out=0.1)


def train(policy: Policy, run: RunFolder | None = None, seed: int = 3, **method) -> Summary:
    recipe = ChunkBC(**{**SHORT, **method}).recipe(policy, None, demos(policy), seed=seed)
    return Trainer(run, seed=seed, quiet=True, checkpoint_s=0.0).fit(recipe)


def test_defaults_are_the_published_ones() -> None:
    policy = student()
    stage = ChunkBC().recipe(policy, None, demos(policy)).stages[1]
    optimiser = stage.players[0].optimiser
    assert (optimiser.name, optimiser.weight_decay, optimiser.max_grad_norm) == ("adamw", 1e-6, None)
    assert (stage.batch_size, stage.updates()) == (256, 20_000)
    rate = optimiser.rate()
    assert rate.at(499, 20_000) == rate.at(500, 20_000) == 1e-4 and rate.at(19_999, 20_000) == 0.0


@pytest.mark.parametrize("name", STUDENTS)
def test_the_term_is_the_students_own_loss(name: str) -> None:
    policy = student(name)
    stage = ChunkBC().recipe(policy, None, demos(policy)).stages[1]
    batch, player = stage.source.gather(np.arange(6), 0), stage.players[0]
    torch.manual_seed(5)
    term_N = player.terms(batch, player.train.signals(batch))["imitate"]
    torch.manual_seed(5)
    assert torch.equal(term_N, policy.loss({"robot": batch["robot"]}, batch.action_NHA))
    assert term_N.shape == (6,)


@pytest.mark.parametrize("name", STUDENTS)
def test_ranges_are_those_of_the_episodes_that_are_trained_on(name: str) -> None:
    policy = student(name)
    data = demos(policy)
    (apart,) = data.held_out.windows.episodes
    train(policy)
    number = np.repeat(np.cumsum(LENGTHS) - 1, LENGTHS)
    for normaliser, rows in (
        (policy.normaliser, data.train.frames["robot"][number != apart]),
        (policy.actions, data.train.action_FA[number != apart]),
    ):
        np.testing.assert_array_equal(normaliser.low.numpy(), rows.min(axis=0))
        np.testing.assert_array_equal(normaliser.high.numpy(), rows.max(axis=0))


def test_the_student_learns_what_was_demonstrated_and_the_held_out_error_says_so() -> None:
    before = train(student(), rounds=1, updates_per_round=1).last["held_out/imitate"]
    # one action at a time: no later one can be told from what is seen
    torch.manual_seed(1)
    policy = make_policy("mlp_chunk", GROUPS, 2, vectors=("robot",), horizon=1, width=64, blocks=1, dropout=0.0)
    summary = train(policy, rounds=10, updates_per_round=60)
    assert summary.updates == 600 and summary.last["held_out/imitate"] < 1e-3 < 0.1 * before
    data = demos(policy).held_out
    batch = data.gather(np.arange(data.size()), 0)
    acted = policy.act({"robot": batch["robot"].numpy()})
    assert np.abs(acted - np.clip(batch.action_NHA[:, 0].numpy(), -1, 1)).max() < 0.1


def test_measuring_the_held_out_error_moves_nothing_and_draws_nothing() -> None:
    policy = student("diffusion")
    recipe = ChunkBC(**SHORT).recipe(policy, None, demos(policy))
    Trainer(seed=0, quiet=True).fit(recipe)
    weights, state = fingerprint(policy), torch.random.get_rng_state()
    from embodkd.core import Context

    context = Context(None, 0, torch.device("cpu"))
    assert recipe.stages[2](context) == recipe.stages[2](context)
    assert fingerprint(policy) == weights and torch.equal(torch.random.get_rng_state(), state)


def test_privileged_groups_are_refused_unless_said_aloud() -> None:
    policy = student(vectors=("robot", "parts"))
    with pytest.raises(ValueError, match="reads privileged groups.*allow_privileged=true"):
        train(policy)
    train(policy, allow_privileged=True)


@pytest.mark.parametrize("name", STUDENTS)
def test_same_seed_same_student_other_seed_another(name: str) -> None:
    def trained(seed: int) -> bytes:
        policy = student(name)
        train(policy, seed=seed)
        return fingerprint(policy)

    assert trained(1) == trained(1) != trained(2)
