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


class Seen(Line):
    """The line with every kind of eye on it: pictures and points whose values say where the point is."""

    EYES = {"wrist_depth": (1, 32, 32), "wrist_rgb": (3, 32, 32), "front_rgb": (3, 32, 32), "points": (256, 3)}

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs)
        for name, shape in self.EYES.items():
            kind = "float32" if name == "points" else "uint8"
            self.spec.groups[name] = Group(name, shape, False, "m", "the place", dtype=kind)
            self.observers[name] = lambda ids, shape=shape, kind=kind: self._eye(ids, shape, kind)

    def _eye(self, ids, shape, kind):
        rows = slice(None) if ids is None else ids
        ramp = np.linspace(0.0, 1.0, int(np.prod(shape))).reshape(shape)
        values = 0.5 + 0.2 * self.at_N[rows].reshape(-1, *[1] * len(shape)) * ramp
        return (values.clip(0, 1) * (255 if kind == "uint8" else 0.05)).astype(kind)
