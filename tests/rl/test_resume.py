"""Every policy that PPO takes, improved by reinforcement learning, goes on bit for bit, however its weights lie."""

import pytest
from embodkd.policies import POLICIES
from small_trainings import ONE_ACTION, improved
from toy import Stopped

from embodkd.rl.ppo import PPO


@pytest.mark.parametrize("name", ONE_ACTION)
def test_interrupted_after_two_iterations_it_ends_in_the_same_bits(name, tmp_path, monkeypatch):
    whole, learn, made = improved(name, tmp_path / "whole"), PPO.learn, []

    def stop_at_the_third(learner, *args, **more):
        if len(made) == 2:
            raise Stopped
        made.append(learn(learner, *args, **more))

    with monkeypatch.context() as patched:
        patched.setattr(PPO, "learn", stop_at_the_third)
        with pytest.raises(Stopped):
            improved(name, tmp_path / "cut")
    assert improved(name, tmp_path / "cut") == whole


@pytest.mark.parametrize("name", sorted({*POLICIES.names()} - {*ONE_ACTION}))
def test_a_policy_that_plans_several_actions_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="plans several actions at once"):
        improved(name, tmp_path / "run")
