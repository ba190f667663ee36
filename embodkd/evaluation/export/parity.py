"""Proof that a file acts as evaluation does: step by step on recorded episodes, and by its success in its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embodkd.core.sources.chunks import CHUNK
from embodkd.evaluation.judge import run_episodes
from embodkd.evaluation.result import Evaluation
from embodkd.policies import ChunkPolicy, Policy, ResidualPolicy, session_of
from embodkd.policies.runner import Robot

if TYPE_CHECKING:
    from embodkd.envs import BatchTask


def parity(policy: Policy, robot: Robot, episode: Mapping[str, np.ndarray]) -> float:
    """The largest difference of any action of an episode between a session of `policy` and its file.

    episode: group -> (T, *shape), what was seen before each step. Both see it, and go on from the session's plans and
    noise. Differences count in normalised units: those in which the policy was trained, else half of an action's range.
    """
    session: Any = session_of(policy, 1)
    unit_A = action_units(policy)
    plans = policy.base if isinstance(policy, ResidualPolicy) else policy
    robot.begin()
    found = [0.0]
    for t in range(len(next(iter(episode.values())))):
        seen = {name: episode[name][t : t + 1] for name in policy.reads}
        noise = None
        if isinstance(plans, ChunkPolicy):
            robot.plan = getattr(session, "base", session).plan_NHA[0].copy()
            with policy.acting():
                drawn = plans.noise(plans.tensors(seen))
            noise = None if drawn is None else drawn[0].float().cpu().numpy()
        expected_A = session.act(seen)[0]
        acted_A = robot.act({name: values[0] for name, values in seen.items()}, noise)
        found.append(float(np.max(np.abs(acted_A - expected_A) / unit_A)))
    return largest(found)


def largest(differences: Sequence[float]) -> float:
    """Their maximum, which is not a number where one of them is none: `max` would pass over it."""
    return float(np.max(differences))


def action_units(policy: Policy) -> np.ndarray:
    """What one normalised unit is in each action's own, (A,)."""
    plans = policy.base if isinstance(policy, ResidualPolicy) else policy
    if not isinstance(plans, ChunkPolicy):
        return np.subtract(policy.action.high, policy.action.low) / 2
    with torch.no_grad():
        ends = torch.tensor([[0.0], [1.0]], device=policy.device, dtype=policy.dtype).expand(2, policy.action_size)
        zero_A, one_A = plans.actions.denormalise(ends).cpu().numpy()
    return np.abs(one_A - zero_A)


def side_by_side(
    policy: Policy, robot: Robot, task: BatchTask, episodes: int, seed: int
) -> tuple[Evaluation, Evaluation]:
    """The file and the policy, each in the same episodes of its own."""
    seeds = seed + np.arange(episodes, dtype=np.int64)
    actors = (Fleet(robot, policy), policy)
    file, original = (Evaluation(run_episodes(actor, task, seeds), {"task": task.spec.name}) for actor in actors)
    return file, original


class Fleet:
    """Robots that act by one file, one in each copy of a task: an actor and its own session."""

    def __init__(self, robot: Robot, policy: Policy) -> None:
        self.robot, self.reads = robot, policy.reads
        self._robots: list[Robot] = []

    def session(self, copies: int, chunk: int = CHUNK) -> Fleet:
        """Itself; one evaluation at a time."""
        self._robots = [copy.copy(self.robot) for _ in range(copies)]
        self.begin()
        return self

    def begin(self, ids: np.ndarray | None = None) -> None:
        """See Session.begin."""
        for i in range(len(self._robots)) if ids is None else ids:
            self._robots[i].begin()

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """See Session.act; each robot draws its own noise."""
        ids = np.arange(len(self._robots)) if ids is None else ids
        rows = [{name: obs[name][k] for name in self.reads} for k in range(len(ids))]
        return np.stack([self._robots[i].act(row) for i, row in zip(ids, rows, strict=True)])
