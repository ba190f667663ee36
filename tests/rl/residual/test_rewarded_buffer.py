"""The replay buffer that keeps rewarded episodes in sight: what it holds twice, draws, and can be refilled from."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from embodkd.rl.residual.rewarded import KEPT, RewardedBuffer

COPIES, STEPS = 5, 60


def make(share=0.5):
    seen, action = spaces.Box(-np.inf, np.inf, (2,), np.float32), spaces.Box(-1, 1, (1,), np.float32)
    return RewardedBuffer(COPIES * STEPS, seen, action, n_envs=COPIES, share=share, n_steps=3, gamma=0.9)


@pytest.fixture
def full():
    """Episodes of 3 to 9 steps whose states say (copy, time); a third of them end with a reward of 1."""
    generator, buffer = np.random.default_rng(0), make()
    left_N = generator.integers(3, 10, COPIES)
    for t in range(STEPS - 1):
        left_N -= 1
        done_N = left_N == 0
        seen = np.stack([np.arange(COPIES), np.full(COPIES, t)], axis=1).astype(np.float32)
        # what others lose is nothing that they earned
        reward_N = np.where(done_N, np.where(generator.random(COPIES) < 1 / 3, 1.0, -1.0), 0.0).astype(np.float32)
        buffer.add(seen, seen + [0, 1], np.full((COPIES, 1), t), reward_N, done_N, [{}] * COPIES)
        left_N[done_N] = generator.integers(3, 10, done_N.sum())
    return buffer


def rewarded_by_hand(buffer):
    """States of the episodes that ended with a reward, in the order in which they ended."""
    rows, first = [], np.zeros(COPIES, int)
    for t in range(buffer.pos):
        for copy in range(COPIES):
            if buffer.dones[t, copy]:
                if buffer.rewards[t, copy] > 0:
                    rows += [(copy, s) for s in range(first[copy], t + 1)]
                first[copy] = t + 1
    return np.array(rows)


def test_whole_rewarded_episodes_are_held_twice_and_nothing_else(full):
    held = full.rewarded
    expected = rewarded_by_hand(full)
    assert 0 < held.pos < full.pos * COPIES
    np.testing.assert_array_equal(held.observations[: held.pos, 0], expected)
    assert held.dones[: held.pos].sum() == held.rewards[: held.pos].sum() == (full.rewards > 0).sum()


def test_half_of_a_sample_is_from_them_with_their_own_returns(full):
    np.random.seed(0)
    drawn = full.sample(400)
    rows = {tuple(row) for row in rewarded_by_hand(full)}
    inside = np.array([tuple(row) in rows for row in drawn.observations.numpy()])
    assert inside[200:].all() and 0 < inside[:200].mean() < 0.8
    for (copy, t), found in zip(drawn.observations.numpy().astype(int), drawn.rewards[:, 0], strict=True):
        total, factor = 0.0, 1.0
        for k in range(t, min(t + 3, full.pos)):
            total += factor * full.rewards[k, copy]
            factor *= 0.9
            if full.dones[k, copy]:
                break
        assert found.item() == pytest.approx(total)


def test_each_of_many_batches_is_made_as_a_single_one_is(full):
    rows = {tuple(row) for row in rewarded_by_hand(full)}
    drawn = list(full.batches(5, 40))
    assert len(drawn) == 5
    for batch in drawn:
        inside = np.array([tuple(row) in rows for row in batch.observations.numpy()])
        assert len(inside) == 40 and inside[20:].all() and not inside[:20].all()
        # the columns of a batch belong together: the next state is the same copy's, at most three steps later
        later = (batch.next_observations - batch.observations).numpy()
        assert (later[:, 0] == 0).all() and (later[:, 1] >= 1).all() and (later[:, 1] <= 3).all()
    assert not torch.equal(drawn[0].observations, drawn[1].observations)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_without_any_it_draws_as_stable_baselines3_does(share):
    buffer = make(share)
    for t in range(9):
        step = np.full((COPIES, 2), t, np.float32)
        buffer.add(step, step, np.zeros((COPIES, 1)), np.zeros(COPIES), np.full(COPIES, t % 3 == 2), [{}] * COPIES)
    np.random.seed(3)
    found = buffer.sample(32)
    np.random.seed(3)
    assert torch.equal(found.observations, super(RewardedBuffer, buffer).sample(32).observations)


def test_it_can_be_filled_again_from_its_steps(full):
    other = make()
    other.take_over({name: getattr(full, name)[: full.pos].copy() for name in KEPT})
    assert other.pos == full.pos and other.rewarded.pos == full.rewarded.pos
    for name in KEPT:
        np.testing.assert_array_equal(getattr(other.rewarded, name), getattr(full.rewarded, name))
    np.testing.assert_array_equal(other._first_N, full._first_N)
