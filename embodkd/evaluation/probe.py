"""Does anything privileged leak?  Into a policy (overwrite it and watch the action) or into a task's plain inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from embodkd.core import Actor
from embodkd.envs import BatchTask
from embodkd.envs.episodes import episode_steps
from embodkd.envs.spec import Group
from embodkd.policies.session import Stateless


@dataclass(frozen=True)
class LeakProbe:
    """The largest change of any action component when one group at a time was overwritten with garbage."""

    privileged: dict[str, float]
    deployable: dict[str, float]

    @property
    def leaks(self) -> tuple[str, ...]:
        """Privileged groups that move the action at all."""
        return tuple(name for name, change in self.privileged.items() if change > 0.0)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Deployable groups that the policy claims to read and that do not move the action."""
        return tuple(name for name, change in self.deployable.items() if change == 0.0)


def probe_leak(policy: Actor, task: BatchTask, *, seed: int = 0, steps: int = 8) -> LeakProbe:
    """Drive ``task`` for ``steps`` control steps, handing the policy *all* groups, and spoil one after the other.

    A policy is judged by what it does with the dictionary that it is given, not by what it says that it reads.
    """
    spec, generator = task.spec, np.random.default_rng(seed)
    changes = {name: 0.0 for name in spec.groups}
    seeds = seed + np.arange(task.num_envs, dtype=np.int64)
    driver = Stateless(policy)
    for now in islice(episode_steps(task, driver, tuple(spec.groups), seeds), steps):
        for name, group in spec.groups.items():
            spoiled = driver.act({**now.obs, name: _garbage(group, len(now.ids), generator)})
            changes[name] = max(changes[name], float(np.abs(spoiled - now.actions).max()))
    return LeakProbe(
        {name: changes[name] for name, group in spec.groups.items() if group.privileged},
        {name: changes[name] for name, group in spec.groups.items() if group.deployable and name in policy.reads},
    )


@dataclass(frozen=True)
class Recovery:
    """How well a ridge regression recovers one number of a privileged group: R squared on held-out episodes, from the
    probed inputs and from the baseline (0 without one); above 0 by chance alone is possible, 1 is a copy."""

    quantity: str
    r2: float
    baseline_r2: float

    @property
    def excess(self) -> float:
        """What the inputs know beyond the baseline."""
        return self.r2 - max(self.baseline_r2, 0.0)


def probe_privileged(
    task: BatchTask,
    groups: Sequence[str],
    *,
    baseline: Sequence[str] = (),
    targets: Sequence[str] | None = None,
    rounds: int = 8,
    steps: int = 5,
    seed: int = 0,
) -> list[Recovery]:
    """Try to recover every number of the privileged groups from the inputs ``groups`` (vectors, not cameras).

    Random actions over ``rounds`` x copies episodes of ``steps`` steps; one sample each, half of the episodes held
    out.  Inputs enter linearly and squared.  ``baseline`` are groups known to be honest: a robot that feels its own
    tool may know a relative pose in part, so what counts as a leak is the ``excess`` over them.  ``targets``: the
    privileged vector groups by default.  Numbers that do not vary are left out.
    """
    spec = task.spec
    chosen = spec.check_groups(targets or [n for n, g in spec.groups.items() if g.privileged and not g.is_image])
    inputs, base = spec.check_groups(groups), spec.check_groups(baseline)
    images = [name for name in (*inputs, *base, *chosen) if spec.groups[name].is_image]
    if images:
        raise ValueError(f"probe_privileged: {images} are images, which are sensors; name groups of plain numbers")
    samples = _samples(task, tuple(dict.fromkeys((*inputs, *base, *chosen))), rounds, steps, seed)
    found = []
    for name in chosen:
        target = samples[name]
        with_inputs = _held_out_r2(_features(samples, inputs), target)
        with_base = _held_out_r2(_features(samples, base), target) if base else np.zeros(target.shape[1])
        varies = target.std(axis=0) > 1e-6
        found += [
            Recovery(f"{name}[{index}]", float(with_inputs[index]), float(with_base[index]))
            for index in np.flatnonzero(varies)
        ]
    return found


def _garbage(group: Group, count: int, generator: np.random.Generator) -> np.ndarray:
    shape = (count, *group.shape)
    if group.is_image:
        return generator.integers(0, 256, shape, dtype=np.uint8)
    return generator.normal(0.0, 3.0, shape).astype(np.float32)


class _Random:
    """Acts at random."""

    def __init__(self, generator: np.random.Generator, action_size: int) -> None:
        self._generator, self._size = generator, action_size

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Nothing is remembered."""

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        return self._generator.uniform(-1, 1, (len(ids), self._size)).astype(np.float32)


def _samples(task: BatchTask, names: Sequence[str], rounds: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """One flattened row per episode, float64 (rounds * copies, width)."""
    generator, count = np.random.default_rng(seed), task.num_envs
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    driver = _Random(generator, task.spec.action_size)
    for number in range(rounds):
        seeds = seed + number * count + np.arange(count, dtype=np.int64)
        for _ in islice(episode_steps(task, driver, (), seeds), steps):
            pass
        for name, values in task.observe(names).items():
            kept[name].append(values.reshape(count, -1).astype(np.float64))
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def _features(samples: dict[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    plain = np.concatenate([samples[name] for name in names], axis=1)
    centred = (plain - plain.mean(axis=0)) / (plain.std(axis=0) + 1e-6)
    return np.concatenate([np.ones((len(plain), 1)), centred, centred**2], axis=1)


def _held_out_r2(features: np.ndarray, target: np.ndarray, ridge: float = 1e-2) -> np.ndarray:
    half = len(features) // 2
    if half < features.shape[1]:
        raise ValueError(
            f"probe_privileged: {len(features)} episodes are too few for {features.shape[1]} features; raise rounds"
        )
    gram = features[:half].T @ features[:half] + ridge * half * np.eye(features.shape[1])
    centre = target[:half].mean(axis=0)
    weights = np.linalg.solve(gram, features[:half].T @ (target[:half] - centre))
    error = ((features[half:] @ weights - (target[half:] - centre)) ** 2).mean(axis=0)
    spread: Any = ((target[half:] - centre) ** 2).mean(axis=0)
    return 1.0 - error / np.maximum(spread, 1e-12)
