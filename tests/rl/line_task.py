"""A task without a simulator: push a point on a line to a goal that only the privileged group knows."""

import numpy as np
from embodkd.envs import BatchTask, Group, TaskSpec


class Line(BatchTask):
    """Six steps; success within 0.2 of the goal at the end. With `wall`, an episode beyond +-1.5 is terminated."""

    def __init__(self, num_envs: int, wall: bool = False) -> None:
        super().__init__(num_envs, action_size=2)
        self.at_N, self.goal_N, self.wall = np.zeros(num_envs), np.zeros(num_envs), wall
        groups = [Group("proprio", (2,), False, "m", "place"), Group("privileged", (1,), True, "m", "goal")]
        self.spec = TaskSpec("line", "none", {g.name: g for g in groups}, 2, 10.0, 6, ("none", "far"))
        self.observers = {"proprio": self._proprio, "privileged": self._privileged}

    def _place(self, ids, seeds):
        self.at_N[ids] = 0.0
        self.goal_N[ids] = self.uniform(seeds, "goal", 1, low=-1.0, high=1.0)[:, 0]

    def _advance(self, actions):
        self.at_N += 0.5 * actions[:, 0]
        gap = np.abs(self.at_N - self.goal_N)
        return -gap, (gap > 0.2).astype(int), gap <= 0.2

    def step(self, actions):
        result = super().step(actions)
        return result._replace(terminated=np.abs(self.at_N) > 1.5) if self.wall else result

    def _proprio(self, ids):
        rows = slice(None) if ids is None else ids
        return np.stack([self.at_N[rows], 100.0 + self.last_action[rows, 0]], axis=1).astype(np.float32)

    def _privileged(self, ids):
        rows = slice(None) if ids is None else ids
        return self.goal_N[rows, None].astype(np.float32)

    def state_dict(self):
        return super().state_dict() | {"at": self.at_N.copy(), "goal": self.goal_N.copy()}

    def load_state_dict(self, arrays):
        super().load_state_dict(arrays)
        self.at_N[:], self.goal_N[:] = arrays["at"], arrays["goal"]

    def close(self):
        """Nothing to free."""
