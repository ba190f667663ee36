"""Queues and plans of many copies: each like a copy alone, whatever the others do."""

import numpy as np
import pytest
import torch
from embodkd.policies import ChunkPolicy, make_policy, session_of
from embodkd.policies.session import Stateless, act_in_chunks, in_chunks
from torch import nn

from embodkd.core.sources.group import GroupFacts

HORIZON, EXECUTE = 5, 2


class Echo(ChunkPolicy):
    """Action k of a chunk: what is seen, plus k / 8, plus half of what the plan had there; notes its batches."""

    def __init__(self):
        super().__init__(2, HORIZON, EXECUTE)
        self._read({"robot": GroupFacts("robot", (2,), False)}, ("robot",))
        self.weight = nn.Parameter(torch.ones(()))
        self.batches = []

    def chunk(self, obs, history):
        assert not self.training and not torch.is_grad_enabled()
        self.batches.append(len(history.plan_NHA))
        assert not history.plan_NHA[history.begins_N].any()
        return obs["robot"][:, None] + torch.arange(HORIZON)[:, None] / 8 + 0.5 * history.plan_NHA


class Alone:
    """What one copy must do, written out slowly."""

    def __init__(self):
        self.plan, self.queue = np.zeros((HORIZON, 2)), []

    def act(self, seen):
        if not self.queue:
            chunk = seen + np.arange(HORIZON)[:, None] / 8 + 0.5 * self.plan
            self.queue = list(chunk[:EXECUTE])
            self.plan = np.concatenate([chunk[EXECUTE:], np.zeros((EXECUTE, 2))])
        return self.queue.pop(0)


def test_each_copy_acts_as_if_alone_under_any_resets_and_subsets():
    rng = np.random.default_rng(0)
    session, alone = Echo().train().session(5, chunk=3), [Alone() for _ in range(5)]
    for _ in range(60):
        begun = np.flatnonzero(rng.random(5) < 0.15)
        session.begin(begun)
        for i in begun:
            alone[i] = Alone()
        ids = rng.permutation(5)[: rng.integers(1, 6)]
        # Eighths are exact, so that equality is meant.
        seen = rng.integers(-8, 8, (len(ids), 2)).astype(np.float32) / 8
        expected = np.array([alone[i].act(row) for i, row in zip(ids, seen, strict=True)], np.float32)
        np.testing.assert_allclose(session.next_base({"robot": seen}, ids), expected, atol=1e-6)
        np.testing.assert_allclose(session.plan_NHA, [one.plan for one in alone], atol=1e-6)


def test_the_network_is_asked_only_when_a_queue_is_empty_and_with_one_size():
    policy = Echo()
    session = policy.session(4, chunk=3)
    for _ in range(7):
        session.act({"robot": np.zeros((4, 2), np.float32)})
    assert policy.batches == [3, 3] * 4, "four refills in ceil(7 / 2) steps, each of two calls of 3 rows"


def test_beginning_anew_touches_no_other_copy():
    seen = {"robot": np.zeros((3, 2), np.float32)}
    session, other = Echo().session(3), Echo().session(3)
    for s in (session, other):
        s.act(seen)
    session.begin(np.array([1]))
    assert not session.plan_NHA[1].any() and session.plan_NHA[0].any()
    new = {"robot": np.full((3, 2), 0.5, np.float32)}
    after, usual = session.next_base(new), other.next_base(new)
    np.testing.assert_array_equal(after[[0, 2]], usual[[0, 2]])
    np.testing.assert_array_equal(after[1], [0.5, 0.5])


def test_the_first_action_is_the_policys_own_in_its_units_and_clipped():
    policy = Echo()
    policy.fit_normalisers({"robot": np.ones((2, 2), np.float32)}, np.array([[-4.0, 0.0], [4.0, 0.5]], np.float32))
    obs = {"robot": np.array([[0.5, -0.25], [0.125, 1.0]], np.float32)}
    first = policy.session(2).act(obs)
    np.testing.assert_allclose(first, [[1.0, 0.1875], [0.5, 0.5]])
    np.testing.assert_array_equal(first, policy.act(obs))


@pytest.mark.parametrize("name", ["diffusion", "mlp_chunk"])
def test_a_batch_is_bit_for_bit_a_loop_of_singles(name, groups):
    options = {"diffusion": {"widths": (16, 32), "horizon": 8, "execute": 3}, "mlp_chunk": {"width": 64, "horizon": 3}}
    policy = make_policy(name, groups, 4, **options[name])
    rng = np.random.default_rng(1)
    together, singles = policy.session(5), [policy.session(1) for _ in range(5)]
    for step in range(8):
        obs = {n: rng.normal(size=(5, *policy.inputs[n].shape)).astype(np.float32) for n in policy.reads}
        if step == 4:
            together.begin(np.array([2]))
            singles[2].begin()
        rows = [s.act({n: v[i : i + 1] for n, v in obs.items()}) for i, s in enumerate(singles)]
        actions = together.act(obs)
        np.testing.assert_array_equal(actions, np.concatenate(rows))
        assert actions.dtype == np.float32 and np.abs(actions).max() <= 1.0


def test_a_policy_without_memory_gets_a_session_that_only_acts(groups, obs):
    policy = make_policy("depth_cnn", groups, 4)
    session = session_of(policy, 6, chunk=4)
    assert isinstance(session, Stateless)
    session.begin(np.array([1]))
    np.testing.assert_array_equal(session.act(obs), act_in_chunks(policy, obs, 4))
    np.testing.assert_array_equal(session.act({n: v[2:4] for n, v in obs.items()}, np.array([2, 3])),
                                  act_in_chunks(policy, obs, 4)[2:4])  # fmt: skip
    assert session_of(make_policy("mlp_chunk", groups, 4, width=8), 6, chunk=4).copies == 6


def test_rows_that_belong_to_nobody_are_refused():
    session = Echo().session(3)
    with pytest.raises(ValueError, match=r"each of 2 copies, got \{'robot': 3\}"):
        session.act({"robot": np.zeros((3, 2), np.float32)}, np.array([0, 1]))


@pytest.mark.parametrize("count", [1, 3, 4, 11])
def test_rows_go_through_calls_of_one_size_under_their_own_names_and_beside_them(count):
    obs, plan_NHA = {"robot": np.arange(2.0 * count).reshape(-1, 2)}, np.ones((count, 3, 2))
    called = []

    def function(seen, plan):
        called.append((set(seen), len(seen["robot"]), len(plan)))
        return seen["robot"] + plan.sum(axis=1)

    np.testing.assert_array_equal(in_chunks(function, obs, plan_NHA, chunk=4), obs["robot"] + 3.0)
    assert called == [({"robot"}, 4, 4)] * -(-count // 4)


def test_a_policy_with_a_plan_is_given_named_groups_only(groups, obs, monkeypatch):
    base = {"base": "mlp_chunk", "base_arguments": {"width": 8}}
    for policy in (make_policy("mlp_chunk", groups, 4, width=8), make_policy("residual", groups, 4, **base)):
        tensors, asked = type(policy).tensors, []
        monkeypatch.setattr(
            type(policy), "tensors", lambda self, obs, own=tensors, names=asked: names.extend(obs) or own(self, obs)
        )
        session_of(policy, 6).act(obs)
        assert set(asked) == set(policy.reads)
