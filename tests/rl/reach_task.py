"""An assembly task without a simulator: bring the tool to a point that only the privileged group knows."""

import numpy as np
from embodkd.envs import BatchTask, Group, TaskSpec


class Reach(BatchTask):
    """The tool moves half the way to where an action says; joined within 0.1 of the goal, then the episode is over."""

    ends_on_success = True

    def __init__(self, num_envs, max_steps=12):
        super().__init__(num_envs, action_size=10)
        self.at_N3, self.goal_N3 = np.zeros((num_envs, 3)), np.zeros((num_envs, 3))
        self.joined_N = np.zeros(num_envs, bool)
        groups = [Group("proprio", (16,), False, "m", "tool"), Group("privileged", (14,), True, "m", "goal")]
        failures = ("none", "apart")
        self.spec = TaskSpec("reach", "none", {g.name: g for g in groups}, 10, 10.0, max_steps, failures)
        self.observers = {"proprio": self._proprio, "privileged": self._privileged}

    def _place(self, ids, seeds):
        self.at_N3[ids] = 0.0
        self.joined_N[ids] = False
        self.goal_N3[ids] = 0.4 * self.uniform(seeds, "goal", 3)

    def _advance(self, actions):
        self.at_N3 += 0.5 * (actions[:, :3] - self.at_N3)
        near_N = np.linalg.norm(self.at_N3 - self.goal_N3, axis=1) < 0.1
        reward_N = near_N & ~self.joined_N
        self.joined_N |= near_N
        return reward_N.astype(np.float32), (~self.joined_N).astype(int), self.joined_N.copy()

    def _rows(self, ids):
        return slice(None) if ids is None else ids

    def _proprio(self, ids):
        at_n3 = self.at_N3[self._rows(ids)]
        return np.concatenate([at_n3, np.zeros((len(at_n3), 13))], axis=1).astype(np.float32)

    def _privileged(self, ids):
        goal_n3 = self.goal_N3[self._rows(ids)]
        return np.concatenate([goal_n3, np.ones((len(goal_n3), 11))], axis=1).astype(np.float32)

    def state_dict(self):
        return super().state_dict() | {
            "at": self.at_N3.copy(),
            "goal": self.goal_N3.copy(),
            "joined": self.joined_N.copy(),
        }

    def load_state_dict(self, arrays):
        super().load_state_dict(arrays)
        self.at_N3[:], self.goal_N3[:], self.joined_N[:] = arrays["at"], arrays["goal"], arrays["joined"]

    def close(self):
        """Nothing to free."""
