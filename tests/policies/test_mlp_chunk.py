"""Regression of chunks: published sizes, the loss, one step or many."""

import pytest
import torch
from embodkd.policies import make_policy

from embodkd.core.sources.group import GroupFacts

GROUPS = {"proprio": GroupFacts("proprio", (16,), False), "privileged": GroupFacts("privileged", (42,), True)}


@pytest.mark.parametrize(("horizon", "size"), [(8, 10_638_416), (1, 10_566_666)])
def test_published_sizes(horizon, size):
    with torch.device("meta"):
        policy = make_policy("mlp_chunk", GROUPS, 10, horizon=horizon)
    assert sum(p.numel() for p in policy.parameters()) == size
    assert policy.horizon == policy.execute == horizon


def test_the_loss_is_the_mean_squared_error_of_each_normalised_chunk():
    policy = make_policy("mlp_chunk", GROUPS, 3, width=16, blocks=2).eval()
    obs = {name: torch.randn(5, *seen.shape) for name, seen in GROUPS.items()}
    actions = torch.randn(5, 8, 3) * torch.tensor([1.0, 0.1, 0.01])
    policy.fit_normalisers(obs, actions)
    low, high = actions.flatten(0, 1).amin(0), actions.flatten(0, 1).amax(0)
    found = policy.chunk(obs)
    slow = [(found[i] - (2 * (actions[i] - low) / (high - low) - 1)).square().mean() for i in range(5)]
    torch.testing.assert_close(policy.loss(obs, actions), torch.stack(slow), atol=1e-5, rtol=1e-5)
    perfect = policy.actions.denormalise(found)
    assert policy.loss(obs, perfect).max() < 1e-9


@pytest.mark.parametrize(("error", "expected"), [("squared", -0.2), ("absolute", -1.0)])
def test_where_demonstrations_disagree_a_squared_error_ends_at_their_mean_an_absolute_one_with_most(error, expected):
    torch.manual_seed(0)
    policy = make_policy("mlp_chunk", GROUPS, 1, width=8, blocks=1, horizon=1, dropout=0.0, error=error)
    seen = {name: torch.zeros(5, *group.shape) for name, group in GROUPS.items()}
    actions_NHA = torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0]).view(5, 1, 1)
    optimiser = torch.optim.Adam(policy.parameters(), 0.01)
    for step in range(400):
        optimiser.param_groups[0]["lr"] = 0.01 * 0.99**step
        optimiser.zero_grad()
        policy.loss(seen, actions_NHA).mean().backward()
        optimiser.step()
    assert policy.chunk(seen)[0].item() == pytest.approx(expected, abs=0.03)
