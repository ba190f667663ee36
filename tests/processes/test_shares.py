"""What ranks do together is what one process does alone: rollouts, evaluations, answers."""

import copy

import numpy as np
import pytest
import torch
from embodkd.envs import make_task
from embodkd.policies import make_policy
from together import together
from torch import nn
from toy import Student, Teacher, ToyTask

from embodkd.core import Rollout, TensorData, mixture, staircase
from embodkd.core.ranks import ranks
from embodkd.evaluation import ablate, evaluate
from embodkd.evaluation.measures import answers

COPIES = 7


class Ragged(ToyTask):
    """Episodes end when their own draw says so, so copies begin anew at all kinds of times."""

    def step(self, actions):
        result = super().step(actions)
        return result._replace(terminated=self.clock >= 2 + (np.abs(self.goal[:, 0]) * 10).astype(int) % 4)


STUDENT = Student(seed=3)


def collected(rank: int) -> tuple[dict[str, np.ndarray], list[dict[str, float]], list[int]]:
    """Three refills on this rank's part of the copies: all rows, what was logged, how many rows were planned."""
    task = Ragged(ranks().split(COPIES, "num_envs"))
    actor = mixture(Teacher(), copy.deepcopy(STUDENT), staircase(1.0, 0.6, 0.0))
    source = Rollout(task, actor, Teacher(), ("proprio", "wrist_depth"), seed=5, steps=9)
    logged = [source.refill(k) for k in range(3)]
    batch = source.gather(np.arange(source.size()), 0)
    return {name: value.numpy() for name, value in batch.items()}, logged, [source.planned_size(k) for k in range(3)]


@pytest.mark.parametrize("size", [2, 3])
def test_rollouts_keep_the_same_rows_on_any_number_of_ranks(size):
    rows, logged, planned = collected(0)
    assert planned[-1] == len(rows["target"]) == 3 * 9 * COPIES
    for other, said, expected in together(size, collected):
        assert said == logged and expected == planned
        for name, value in rows.items():
            np.testing.assert_array_equal(other[name], value)


def test_fewer_copies_than_ranks_are_refused_by_name():
    with pytest.raises(ValueError, match="num_envs: 1 cannot be shared out among 2"):
        together(2, lambda rank: ranks().split(1, "num_envs"))


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    world = make_task("peg_hole", 1)
    try:
        return make_policy("depth_cnn", world.spec.groups, world.spec.action_size).eval()
    finally:
        world.close()


def judged(policy, episodes, copies=3):
    made = evaluate(policy, "peg_hole", {"threads": 1}, episodes=episodes, seed=2, copies=copies, quiet=True)
    return made.outcomes, made.protocol


@pytest.mark.parametrize("episodes", [1, 7])
def test_an_evaluation_is_the_same_on_any_number_of_ranks(policy, episodes):
    alone = judged(policy, episodes)
    assert [o.seed for o in alone[0]] == [2 * 2**32 + i for i in range(episodes)]
    assert together(3, lambda rank: judged(policy, episodes)) == [alone] * 3


def test_a_sensor_ablation_is_the_same_on_any_number_of_ranks(policy):
    def ablation(rank):
        world = make_task("peg_hole", 3, threads=1)
        try:
            return ablate(policy, world, groups=["wrist_depth"], episodes=4, quiet=True).as_dict()["rows"]
        finally:
            world.close()

    assert together(2, ablation) == [ablation(0)] * 2


@pytest.mark.parametrize("items", [3, 40])
def test_answers_are_the_same_on_any_number_of_ranks(items):
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    data = TensorData({"input": torch.randn(items, 5), "label": torch.arange(items) % 3})
    alone = answers(model, data, 3, batch_size=16)
    for found in together(2, lambda rank: answers(model, data, 3, batch_size=16)):
        assert all(torch.equal(a, b) for a, b in zip(found, alone, strict=True))


def test_the_error_of_one_rank_ends_the_others():
    def work(rank):
        if rank == 1:
            raise ValueError("only here")
        ranks().wait()

    with pytest.raises(ValueError, match="only here"):
        together(2, work)
