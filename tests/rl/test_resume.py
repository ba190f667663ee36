"""Every registered policy, improved by reinforcement learning, goes on bit for bit, however its weights lie."""

import pytest
from embodkd.policies import POLICIES
from small_trainings import improved
from toy import Stopped

from embodkd.rl.ppo import PPO


@pytest.mark.parametrize("name", POLICIES.names())
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
