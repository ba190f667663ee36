"""An exported file acts as the session that evaluation runs, step by step, and nothing else passes for that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from embodkd.policies import session_of
from small_policies import ACTIONS, META, STEPS, episode, small

from embodkd.evaluation.export.formats import written
from embodkd.evaluation.export.graph import policy_graph
from embodkd.evaluation.export.parity import action_units, parity
from embodkd.evaluation.export.program import Program


class Double:
    """A robot that acts as the policy does, up to `error`; `plan` is not its own to choose."""

    def __init__(self, policy, error=0.0):
        self.policy, self.error = policy, error

    def begin(self):
        self.session = session_of(self.policy, 1)

    def act(self, obs, noise=None):
        return self.session.act({name: values[None] for name, values in obs.items()})[0] + self.error


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_every_policy_acts_by_its_file_as_in_evaluation(every_policy, format, robot):
    policy, acts = robot(every_policy, format)
    for seed in (0, 1):
        assert parity(policy, acts, episode(policy, seed)) <= 1e-5


@pytest.mark.parametrize("name", ["mlp_chunk", "diffusion"])
def test_the_first_action_of_each_chunk_alone_is_not_what_evaluation_does(name, robot):
    policy, acts = robot(name)
    acts.facts = {**acts.facts, "execute": 1}
    assert parity(policy, acts, episode(policy)) > 0.01


def test_a_correction_that_comes_too_rarely_or_of_the_wrong_actions_is_noticed(robot):
    policy, acts = robot("residual")
    acts.facts = {**acts.facts, "execute": 2}
    assert parity(policy, acts, episode(policy)) > 0.01


def test_what_acts_without_a_session_is_noticed_though_each_answer_is_the_policys_own():
    policy = small("mlp_chunk")

    class Forgetful(Double):
        def act(self, obs, noise=None):
            return self.policy.act({name: values[None] for name, values in obs.items()})[0]

    assert parity(policy, Double(policy), episode(policy)) == 0.0
    assert parity(policy, Forgetful(policy), episode(policy)) > 0.01


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_file_whose_answers_are_no_numbers_does_not_act_alike(wrong):
    policy = small("mlp_chunk")

    class Late(Double):
        """No number from the second step on, or in the second only."""

        calls = 0

        def act(self, obs, noise=None):
            self.calls += 1
            return super().act(obs, noise) + (wrong if self.calls in (2, 3) else 0.0)

    assert not parity(policy, Late(policy), episode(policy)) <= 1.0


@pytest.mark.parametrize("name", ["mlp_chunk", "residual", "depth_cnn"])
def test_differences_count_in_normalised_units_not_in_degrees(name):
    policy = small(name)
    unit = action_units(policy)
    if name == "depth_cnn":
        np.testing.assert_array_equal(unit, np.ones(ACTIONS))
    else:
        plans = getattr(policy, "base", policy)
        np.testing.assert_allclose(unit, ((plans.actions.high - plans.actions.low) / 2).numpy(), rtol=1e-5)
    for k in range(ACTIONS):
        error = np.zeros(ACTIONS)
        error[k] = 0.01 * unit[k]
        assert parity(policy, Double(policy, error), episode(policy)) == pytest.approx(0.01, rel=1e-3)


def test_the_file_of_a_policy_in_double_precision_speaks_float32(tmp_path):
    policy = small("mlp_chunk").double()
    with written(policy_graph(policy, META), tmp_path / "double.pt2", "torch") as draft:
        assert parity(policy, Program(draft), episode(policy)) <= 1e-5


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_begins_chooses_the_cold_start_whatever_is_left_in_the_plan(format, robot):
    policy, acts = robot("diffusion", format)
    seen = {name: values[0] for name, values in episode(policy).items()}
    plan, noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, *acts.facts["chunk"])).astype(np.float32)
    given = {**seen, "noise": noise}
    first = [acts.run(["action"], {**given, "plan": p, "begins": True})[0] for p in (plan, 0 * plan)]
    later = [acts.run(["action"], {**given, "plan": p, "begins": False})[0] for p in (plan, 0 * plan)]
    np.testing.assert_array_equal(first[0], first[1])
    assert np.abs(later[0] - later[1]).max() > 0.01 and np.abs(later[1] - first[1]).max() > 0.01
    tensors = {name: torch.from_numpy(values[None]) for name, values in seen.items()}
    history = policy.beginning(tensors)._replace(noise_NHA=torch.from_numpy(noise[None]))
    with torch.no_grad():
        cold = policy.clipped(policy.actions.denormalise(policy.chunk(tensors, history)))[0].numpy()
    np.testing.assert_allclose(first[0], cold, atol=1e-3)


def test_what_is_left_of_a_chunk_comes_back_as_the_next_plan(robot):
    policy, acts = robot("diffusion")
    acts.act({name: values[0] for name, values in episode(policy).items()})
    session = policy.session(1)
    assert acts.plan.shape == session.plan_NHA.shape[1:] and not acts.begins
    assert np.abs(acts.plan[:2]).min() > 0 and not acts.plan[2:].any()


def test_an_episode_of_a_file_alone_needs_nobody_to_hand_it_plans(robot):
    """Without the session's plans a deterministic policy's file still does what the policy does, over two episodes."""
    for name in ("mlp_chunk", "residual"):
        policy, acts = robot(name)
        for seed in (0, 1):
            session, seen = session_of(policy, 1), episode(policy, seed)
            acts.begin()
            for t in range(STEPS):
                expected = session.act({n: values[t : t + 1] for n, values in seen.items()})[0]
                found = acts.act({n: values[t] for n, values in seen.items()})
                np.testing.assert_allclose(found / action_units(policy), expected / action_units(policy), atol=1e-5)
