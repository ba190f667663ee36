"""How large a residual's corrections are, and in which phase of an assembly."""

import numpy as np
import pytest
import torch
from embodkd.envs import make_task
from embodkd.envs.tasks.assembly.expert import Expert
from embodkd.envs.tasks.assembly.phases import PHASES, phase
from embodkd.policies import make_policy, residual_on

from embodkd.evaluation.corrections import corrections

SIZE = 0.3


@pytest.fixture(scope="module")
def task():
    task = make_task("peg_assembly", 8, threads=1)
    yield task
    task.close()


@pytest.fixture
def policy(task):
    """A residual on a base that stays where it is; actions range over 0.4 m in x and half a turn about z."""
    torch.manual_seed(0)
    base = make_policy("mlp_chunk", task.spec.groups, 10, width=16, blocks=1, dropout=0.0)
    task.reset(np.arange(8))
    actions = np.tile(np.array([[-0.2, 0, 0.1, 1, 0, 0, 0, 1, 0, -1]], np.float32), (2, 1))
    actions[1, :1] = 0.2
    base.fit_normalisers(task.observe(base.reads), actions)
    torch.nn.init.zeros_(base.layers[-1].weight)
    torch.nn.init.zeros_(base.layers[-1].bias)
    return residual_on(base.eval(), alpha=0.2)


def test_an_expert_reaches_grasps_carries_and_inserts_in_this_order(task):
    task.reset(np.arange(8))
    expert = Expert(task)
    session = expert.session(8)
    session.begin()
    seen = []
    for _ in range(task.max_steps):
        seen.append(phase(task))
        step = task.step(session.act())
        if step.terminated.all():
            break
    assert task.joined_NK.all()
    for phases in np.array(seen).T:
        firsts = [int(np.argmax(phases == k)) for k in range(len(PHASES))]
        assert phases[0] == 0 and firsts == sorted(set(firsts))


@pytest.mark.parametrize("size", [0.0, SIZE])
def test_millimetres_are_those_between_what_the_base_and_the_sum_ask_for(policy, task, monkeypatch, size):
    shift = torch.zeros(10)
    shift[0] = size
    monkeypatch.setattr(policy, "correction", lambda seen_NS: shift.expand(len(seen_NS), 10))
    found = corrections(policy, task)
    assert sum(part["share"] for part in found.values()) == pytest.approx(1, abs=0.01)
    for part in found.values():
        # a correction of 1 is alpha times half the range of the demonstrated actions
        assert part["mm"] == pytest.approx(1000 * size * 0.2 * 0.2, abs=0.01)
        assert part["degrees"] == pytest.approx(0, abs=0.1)


def test_degrees_are_those_between_the_two_rotations(policy, task, monkeypatch):
    shift = torch.zeros(10)
    shift[4] = 0.5  # constant in the demonstrations: a range of 2, so 0.1 in the action
    monkeypatch.setattr(policy, "correction", lambda seen_NS: shift.expand(len(seen_NS), 10))
    for part in corrections(policy, task).values():
        assert part["mm"] == pytest.approx(0, abs=0.01)
        assert part["degrees"] == pytest.approx(np.degrees(np.arctan(0.1)), abs=0.1)
