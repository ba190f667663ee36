"""PPO's arithmetic, against numbers computed elsewhere (the card's N1, N2, N3) and identities."""

import pytest
import torch

from embodkd.rl.advantages import advantages, clipped_loss, divergence_estimate, standardise, until_done

REWARD = (0.0, 0.0, 1.0, 0.0, 0.0)
VALUE = (0.1, 0.2, 0.3, 0.4, 0.5)


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def found(done, gae_lambda=0.95):
    last = torch.tensor([0.6], dtype=torch.float64)
    return advantages(column(*REWARD), column(*VALUE), column(*map(float, done)), last, 0.999, gae_lambda)[:, 0]


@pytest.mark.parametrize(
    ("done", "wanted"),
    [
        ((0, 0, 1, 1, 1), (0.824907, 0.764035, 0.7, -0.4, -0.5)),
        ((0, 0, 1, 0, 1), (0.824907, 0.764035, 0.7, -0.375025, -0.5)),
        ((0, 0, 1, 0, 0), (0.824907, 0.764035, 0.7, 0.193836, 0.0994)),
        ((0, 0, 0, 0, 0), (1.350517, 1.317862, 1.28356, 0.193836, 0.0994)),
    ],
)
def test_advantages_of_the_card(done, wanted):
    advantage = found(done)
    assert advantage.tolist() == pytest.approx(wanted, abs=2e-6)
    if done == (0, 0, 1, 1, 1):
        returns = advantage + torch.tensor(VALUE, dtype=torch.float64)
        assert returns.tolist() == pytest.approx((0.924907, 0.964035, 1.0, 0.0, 0.0), abs=2e-6)


def test_with_lambda_one_they_are_discounted_returns_less_values():
    assert found((0, 0, 1, 1, 1), gae_lambda=1.0)[:3].tolist() == pytest.approx((0.898001, 0.799, 0.7), abs=2e-6)


def test_each_copy_is_on_its_own_and_after_the_end_an_advantage_is_minus_the_value():
    generator = torch.Generator().manual_seed(0)
    reward_TN, value_TN = torch.randn(2, 9, 4, generator=generator)
    done_TN = (torch.arange(9)[:, None] >= torch.tensor([3, 8, 0, 5])).float()
    reward_TN = reward_TN * until_done(done_TN)
    together = advantages(reward_TN, value_TN, done_TN, torch.ones(4), 0.99, 0.9)
    for i in range(4):
        alone = advantages(*(x[:, i : i + 1] for x in (reward_TN, value_TN, done_TN)), torch.ones(1), 0.99, 0.9)
        torch.testing.assert_close(together[:, i : i + 1], alone)
    after = ~until_done(done_TN)
    assert torch.equal(together[after], -value_TN[after])


def test_a_constant_times_all_rewards_and_values_changes_no_standardised_advantage():
    generator = torch.Generator().manual_seed(0)
    reward_TN, value_TN = torch.randn(2, 9, 4, generator=generator, dtype=torch.float64)
    done_TN, last_N = torch.zeros(9, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    one, five = (standardise(advantages(k * reward_TN, k * value_TN, done_TN, k * last_N, 0.99, 0.9)) for k in (1, 5))
    torch.testing.assert_close(one, five, atol=1e-7, rtol=0)


def test_steps_count_up_to_the_one_that_ends_the_episode():
    done_TN = torch.tensor([[0, 1, 0], [1, 1, 0], [1, 1, 0]]).float()
    assert until_done(done_TN).tolist() == [[True, True, True], [True, False, True], [False, False, True]]


def test_standardised_advantages_of_the_card():
    advantage = found((0, 0, 1, 1, 1))
    wanted = (0.820537, 0.729244, 0.633208, -1.016508, -1.166482)
    assert standardise(advantage).tolist() == pytest.approx(wanted, abs=2e-6)
    counted = until_done(column(0, 0, 1, 1, 1))[:, 0]
    assert standardise(advantage[counted]).tolist() == pytest.approx((0.991454, 0.016878, -1.008332), abs=2e-6)


def test_loss_and_divergence_of_the_card():
    advantage = standardise(torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64))
    assert advantage.tolist() == pytest.approx((0.182349, -1.276444, -0.060783, 1.154878), abs=2e-6)
    ratio = torch.tensor([1.3, 0.7, 1.0, 0.5], dtype=torch.float64)
    loss, clipped = clipped_loss(advantage, ratio, 0.2)
    assert loss.tolist() == pytest.approx((-0.218819, 1.021155, 0.060783, -0.577439), abs=2e-6)
    assert loss.mean().item() == pytest.approx(0.071420, abs=2e-6)
    assert clipped.float().mean() == 0.75
    assert divergence_estimate(ratio.log()).item() == pytest.approx(0.071864, abs=2e-6)
    assert divergence_estimate(torch.zeros(3)) == 0.0
