"""What the numbers of an action are belongs to the policy: each in its unit, within its bounds, through every way."""

import json

import numpy as np
import pytest
import torch
from embodkd.policies import POLICIES, load_policy, make_policy, save_policy, session_of

from embodkd.core.sources.action import ActionFacts

# three joints in degrees, of which one is never moved, and a gripper from 0 to 100
ARM = ActionFacts.of(
    4, ("pan", "lift", "roll", "gripper"), ("deg", "deg", "deg", "%"), (-90, 5, 0, 0), (90, 60, 0, 100)
)
TASK = {"name": "arm", "control_hz": 30.0}
SMALL = {
    "mlp_chunk": {"width": 8, "blocks": 1, "horizon": 2},
    "diffusion": {"widths": (8, 16), "horizon": 4, "execute": 2, "steps": 2},
    "residual": {"base": "mlp_chunk", "base_arguments": {"width": 8, "blocks": 1, "horizon": 2}},
}


@pytest.fixture(params=POLICIES.names())
def arm(request, groups, obs):
    """Every policy with the actions of an arm, some of its answers far beyond what it may do."""
    torch.manual_seed(0)
    policy = make_policy(request.param, groups, 4, **SMALL.get(request.param, {})).acts(ARM)
    policy.update_statistics(obs)
    chunked = getattr(policy, "base", policy)
    with torch.no_grad():
        if hasattr(chunked, "actions"):
            chunked.actions.fit(torch.tensor([ARM.low, ARM.high]) * 3)
        for parameter in policy.parameters():
            parameter.mul_(3)
    return policy.eval()


def test_every_policy_acts_within_its_own_bounds_and_uses_them(arm, obs):
    for action in (arm.act(obs), session_of(arm, 6).act(obs)):
        assert action.dtype == np.float32
        assert (action >= np.float32(ARM.low)).all() and (action <= np.float32(ARM.high)).all()
        assert np.abs(action).max() > 1.0, "nothing is cut off at one"
        assert not action[:, 2].any(), "what never moved is not moved"


def test_names_units_and_bounds_travel_with_the_policy(arm, obs, tmp_path):
    folder = save_policy(tmp_path / "arm", arm, task=TASK)
    loaded, meta = load_policy(folder)
    assert loaded.action == ARM and meta["control_hz"] == 30.0
    np.testing.assert_array_equal(loaded.act(obs), arm.act(obs))
    card = (folder / "README.md").read_text()
    assert "| `gripper` | % | 0 to 100 |" in card and "30.0 Hz" in card


def test_what_an_earlier_version_said_of_all_actions_is_said_of_each(tmp_path, groups):
    folder = save_policy(tmp_path / "p", make_policy("blind", groups, 4), task=TASK)
    meta = json.loads((folder / "config.json").read_text())
    meta["action"] = {"size": 4, "low": -1.0, "high": 1.0, "units": "fractions of the task's limits"}
    (folder / "config.json").write_text(json.dumps(meta))
    action = load_policy(folder)[0].action
    assert action.low == (-1.0,) * 4 and action.high == (1.0,) * 4
    assert action.names == ("action_0", "action_1", "action_2", "action_3")


def test_facts_that_contradict_themselves_or_the_policy_are_refused(groups):
    with pytest.raises(ValueError, match="'lift': its bounds are 3 to 2"):
        ActionFacts.of(2, ("pan", "lift"), low=(0, 3), high=(1, 2))
    with pytest.raises(ValueError, match="one name, unit, low and high"):
        ActionFacts.of(2, ("pan",))
    with pytest.raises(ValueError, match="gives 4 actions, facts of 2"):
        make_policy("blind", groups, 4).acts(ActionFacts.of(2))
