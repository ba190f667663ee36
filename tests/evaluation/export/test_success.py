"""A file that acts alike but fails in episodes of its own is not kept, and chance is not held against it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from coin import Coin
from embodkd.envs.episodes import seen_in
from embodkd.policies import Policy, make_policy, session_of

from embodkd.evaluation.export import export_policy
from embodkd.evaluation.export.parity import Fleet

META = {"policy": "mlp", "task": {"name": "coin"}, "action": {}}


@pytest.fixture
def winner() -> Policy:
    """Acts by the hidden side, so that it always wins."""
    policy = make_policy("mlp", Coin(1).spec.groups, 2, vectors=("privileged",), hidden=())
    with torch.no_grad():
        policy.layers[0].weight.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.0]]))
        policy.layers[0].bias.zero_()
    return policy


def exported(policy: Policy, path, episodes: int):
    task = Coin(4)
    seen = seen_in(task, session_of(policy, 4), policy.reads, 7)
    return export_policy(policy, META, path, "torch", recorded=[seen], task=task, episodes=episodes)


def test_file_and_policy_drive_the_same_episodes(winner, tmp_path) -> None:
    found = exported(winner, tmp_path / "coin.pt2", 20)
    assert found.driven is not None and [one.success_rate for one in found.driven] == [1.0, 1.0]
    assert "it succeeds in 100.0 % of 20 episodes, the policy in 100.0 %" in str(found)


@pytest.mark.parametrize(("spoiled", "kept"), [(1, True), (12, False)])
def test_a_rate_that_chance_explains_passes_and_one_that_it_does_not_is_refused(
    winner, tmp_path, monkeypatch, spoiled: int, kept: bool
) -> None:
    act, begin, started = Fleet.act, Fleet.begin, []

    def begun(self, ids=None):
        started.extend(range(len(self._robots)) if ids is None else ids)
        begin(self, ids)

    def wrong_for_a_while(self, obs, ids=None):
        # Copies are begun twice before the first step.
        return act(self, obs, ids) * (-1.0 if len(started) <= 8 + spoiled else 1.0)

    monkeypatch.setattr(Fleet, "begin", begun)
    monkeypatch.setattr(Fleet, "act", wrong_for_a_while)
    path = tmp_path / "coin.pt2"
    if kept:
        assert exported(winner, path, 40).driven[0].success_rate < 1.0
    else:
        with pytest.raises(ValueError, match="is worse than the policy .* it was not kept"):
            exported(winner, path, 40)
    assert path.exists() == kept


def test_nothing_recorded_nothing_exported(winner, tmp_path) -> None:
    with pytest.raises(ValueError, match="no recorded episode"):
        export_policy(winner, META, tmp_path / "coin.pt2", "torch", recorded=[])
    assert not list(tmp_path.iterdir())


def test_an_episode_is_what_the_policy_saw_of_it(winner) -> None:
    task = Coin(3)
    seen = seen_in(task, session_of(winner, 3), ("privileged", "eye"), 10)
    assert seen["privileged"].shape == (3 + 10 % 4, 2) and seen["eye"].dtype == np.uint8
    assert (np.abs(seen["privileged"]) == (1.0, 2.0)).all() and len(np.unique(seen["privileged"][:, 0])) == 1
