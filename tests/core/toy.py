"""A toy batched task and policies: reach a hidden goal that the teacher is told and the student must sense."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from embodkd.core import RunFolder


@dataclass(frozen=True)
class Group:
    name: str
    shape: tuple[int, ...]
    privileged: bool
    dtype: str = "float32"


@dataclass(frozen=True)
class Spec:
    name: str = "toy"
    action_size: int = 2
    max_steps: int = 5
    groups: dict = field(
        default_factory=lambda: {
            "proprio": Group("proprio", (2,), False),
            "privileged": Group("privileged", (2,), True),
            "wrist_depth": Group("wrist_depth", (1, 8, 8), False, "uint8"),
        }
    )


class Step(NamedTuple):
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    info: dict


class ToyTask:
    """A point must come to a goal; the depth image encodes the goal's offset. An episode depends on its seed alone."""

    def __init__(self, num_envs: int = 8) -> None:
        self.spec, self.num_envs = Spec(), num_envs
        self.point, self.goal = np.zeros((num_envs, 2)), np.zeros((num_envs, 2))
        self.clock = np.zeros(num_envs, int)
        self.seeds_used: list[int] = []

    def reset(self, seeds, ids=None):
        ids = np.arange(self.num_envs) if ids is None else ids
        assert seeds.dtype == np.int64 and len(seeds) == len(ids) and (seeds >= 0).all()
        for i, seed in zip(ids, seeds, strict=True):
            self.point[i], self.goal[i] = np.random.default_rng(seed).uniform(-1, 1, (2, 2))
            self.seeds_used.append(int(seed))
        self.clock[ids] = 0

    def observe(self, groups, ids=None):
        offset = self.goal - self.point
        image = np.clip(offset[:, :, None, None] * 40 + 128, 0, 255).astype(np.uint8)
        blocks = np.concatenate([np.broadcast_to(image[:, k, None], (len(offset), 1, 8, 4)) for k in (0, 1)], axis=3)
        everything = {
            "proprio": self.point.astype(np.float32),
            "privileged": offset.astype(np.float32),
            "wrist_depth": blocks,
        }
        return {name: everything[name] for name in groups}

    def step(self, actions):
        assert actions.shape == (self.num_envs, 2) and actions.dtype == np.float32 and np.abs(actions).max() <= 1
        self.point += 0.5 * actions
        self.clock += 1
        near = np.linalg.norm(self.goal - self.point, axis=1) < 0.15
        truncated = self.clock >= self.spec.max_steps
        zeros = np.zeros(self.num_envs)
        return Step(zeros.astype(np.float32), zeros.astype(bool), truncated, {"is_success": near})


class Acting(nn.Module):
    def act(self, obs):
        with torch.no_grad():
            return self({k: torch.as_tensor(v) for k, v in obs.items()}).clamp(-1, 1).numpy()


class Teacher(Acting):
    reads = ("privileged",)

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, obs):
        return obs["privileged"] * self.gain


class Student(Acting):
    reads = ("wrist_depth", "proprio")

    def __init__(self, seed=0, dropout=0.1):
        super().__init__()
        torch.manual_seed(seed)
        self.eyes = nn.Sequential(nn.Conv2d(1, 4, 4, 4), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(18, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 2))

    def forward(self, obs):
        seen = self.eyes(obs["wrist_depth"].float() / 255 - 0.5)
        return self.head(torch.cat([seen, obs["proprio"]], 1))


def fingerprint(module: nn.Module) -> bytes:
    return b"".join(v.detach().cpu().numpy().tobytes() for v in module.state_dict().values())


def probabilities(row: Sequence[float]) -> list[float]:
    """The softmax of a row of logits, number by number."""
    top = max(row)
    weights = [math.exp(v - top) for v in row]
    return [w / sum(weights) for w in weights]


class Stopped(Exception):
    """A run was ended right after it had written a checkpoint."""


def stops_until(whole: bytes, run: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch, most: int) -> int:
    """How often `run` was stopped, each time after its next checkpoint, until it was through and gave `whole`.

    `run` trains in one folder, resuming, and gives what to compare.
    """
    save, stops = RunFolder.save_checkpoint, 0

    def save_and_stop(self: RunFolder, *arguments: Any) -> None:
        save(self, *arguments)
        raise Stopped

    monkeypatch.setattr(RunFolder, "save_checkpoint", save_and_stop)
    while stops < most:
        with suppress(Stopped):
            assert run() == whole
            return stops
        stops += 1
    raise AssertionError(f"still not done after {most} checkpoints")


@contextmanager
def signalled(kind: type, method: str, at: int, number: int = signal.SIGTERM) -> Iterator[list[int]]:
    """Inside, this process sends itself signal `number` in the `at`-th call of `kind.method`; yields the calls."""
    original, calls = getattr(kind, method), []

    def call(*arguments: Any, **more: Any) -> Any:
        calls.append(len(calls) + 1)
        found = original(*arguments, **more)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return found

    setattr(kind, method, call)
    try:
        yield calls
    finally:
        setattr(kind, method, original)
