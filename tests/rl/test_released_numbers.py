"""The arithmetic of PPO against figures of UniDexGrasp's released code (its card, check 8)."""

from __future__ import annotations

import pytest
import torch

from embodkd.rl.advantages import advantages, standardise


def test_returns_and_advantages_where_a_time_limit_ends_an_episode_like_any_other_end() -> None:
    reward, value = torch.tensor([-0.4, 0.2, 0.5]), torch.tensor([0.1, 0.3, 0.6])
    done, last = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.9])
    found = advantages(reward[:, None], value[:, None], done[:, None], last, 0.96, 0.95)[:, 0]
    assert (found + value).tolist() == pytest.approx([-0.2032, 0.2, 1.364], abs=1e-6)
    assert standardise(found).tolist() == pytest.approx([-0.747287, -0.388702, 1.135990], abs=1e-5)
