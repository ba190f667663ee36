"""The loop over episodes: every seed once, whole, the same in any number of copies, nothing of the idle ones."""

import numpy as np
import pytest
from embodkd.envs import BatchTask, Group, TaskSpec
from embodkd.envs.episodes import episode_steps


class Count(BatchTask):
    """Shows seed, step and the sum of the actions; an episode of seed s lasts 1 + s % 5 steps."""

    def __init__(self, num_envs, lasts=None):
        super().__init__(num_envs, action_size=1)
        self.sum_N, self._lasts = np.zeros(num_envs), lasts
        self.spec = TaskSpec("count", "none", {"seen": Group("seen", (3,), False, "-", "")}, 1, 10.0, 5, ("none",))
        self.observers = {"seen": self._seen}

    def _seen(self, ids):
        return np.stack([self.seeds, self.steps, self.sum_N], axis=1).astype(np.float32)[
            slice(None) if ids is None else ids
        ]

    def _place(self, ids, seeds):
        self.sum_N[ids] = 0.0

    def _advance(self, actions):
        self.sum_N += actions[:, 0]
        return self.sum_N.copy(), np.zeros(self.num_envs, int), self.sum_N > 1.0

    def step(self, actions):
        over_N = self.steps + 1 >= (1 + self.seeds % 5 if self._lasts is None else self._lasts)
        return super().step(actions)._replace(truncated=over_N)


class Driver:
    """Acts by what it sees and by how often it has acted since the episode began."""

    def __init__(self, copies):
        self.acted_N, self.began = np.zeros(copies, int), []

    def begin(self, ids=None):
        self.acted_N[slice(None) if ids is None else ids] = 0
        self.began.append(ids)

    def act(self, obs, ids):
        self.acted_N[ids] += 1
        return (0.01 * obs["seen"][:, :1] + 0.1 * self.acted_N[ids, None]).astype(np.float32)


def played(copies, seeds, **more):
    """episode -> rows of (what was seen, action, reward), in the order in which they came."""
    task, found = Count(copies), {}
    for now in episode_steps(task, Driver(copies), ("seen",), np.asarray(seeds), **more):
        for k, (copy, episode) in enumerate(zip(now.ids, now.episode, strict=True)):
            row = (*now.obs["seen"][k], *now.actions[k], now.step.reward[copy])
            found.setdefault(int(episode), []).append(row)
            assert bool(now.over[k]) == bool(more.get("is_over", lambda step: step.truncated)(now.step)[copy])
    return found


@pytest.mark.parametrize("copies", [1, 2, 5, 30])
def test_an_episode_is_the_same_in_any_number_of_copies(copies):
    seeds = np.array([7, 3, 3, 19, 10, 4, 8, 25, 6, 1, 2])
    found = played(copies, seeds)
    assert sorted(found) == list(range(len(seeds)))
    for episode, seed in enumerate(seeds):
        (alone,) = played(1, [seed]).values()
        assert found[episode] == alone and len(alone) == 1 + seed % 5
        assert [row[:2] for row in alone] == [(seed, step) for step in range(len(alone))]


def test_free_copies_take_the_next_seeds_in_order_and_each_driver_is_told():
    task, driver = Count(3), Driver(3)
    begun = {}
    for now in episode_steps(task, driver, ("seen",), np.array([4, 0, 1, 3, 2])):
        for copy, episode in zip(now.ids, now.episode, strict=True):
            begun.setdefault(int(episode), int(copy))
    # lengths 5, 1, 2, 4, 3: copy 1 is free first, then copy 2
    assert begun == {0: 0, 1: 1, 2: 2, 3: 1, 4: 2}
    assert driver.began[0] is None and sorted(np.concatenate(driver.began[1:])) == [0, 1, 1, 2, 2]


def test_the_task_can_be_looked_at_as_the_step_left_it():
    task = Count(1)
    for now in episode_steps(task, Driver(1), ("seen",), np.array([2, 4])):
        assert task.sum_N[0] == pytest.approx(now.step.reward[0])
        assert task.steps[0] > 0


def test_who_asks_may_end_episodes_elsewhere():
    found = played(2, [4, 4, 4], is_over=lambda step: np.array([True, True]))
    assert [len(rows) for rows in found.values()] == [1, 1, 1]


def test_a_task_without_an_end_and_groups_that_it_lacks_are_refused():
    with pytest.raises(ValueError, match="went on after its max_steps of 5"):
        list(episode_steps(Count(2, lasts=9), Driver(2), ("seen",), np.arange(2)))
    with pytest.raises(ValueError, match="seen"):
        list(episode_steps(Count(2), Driver(2), ("sene",), np.arange(2)))
