"""Observation groups like a task's, without a simulator."""

import numpy as np
import pytest
from embodkd.envs import Group


def make_groups(side: int = 32) -> dict[str, Group]:
    groups = [
        Group("proprio", (7,), False, "m", "joints"),
        Group("privileged", (5,), True, "m", "the truth"),
        Group("robot", (16,), False, "m", "the tool"),
        Group("parts", (14,), True, "m", "poses of the parts"),
        Group("wrist_depth", (1, side, side), False, "0..255", "depth", "uint8"),
        Group("wrist_rgb", (3, side, side), False, "0..255", "colour", "uint8"),
        Group("front_rgb", (3, side, side), False, "0..255", "colour", "uint8"),
        Group("points", (256, 3), False, "m", "cloud"),
    ]
    return {g.name: g for g in groups}


def make_obs(groups: dict[str, Group], count: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 256, (count, *g.shape), dtype=np.uint8)
        if g.is_image
        else rng.normal(size=(count, *g.shape)).astype(np.float32)
        for name, g in groups.items()
    }


@pytest.fixture
def groups() -> dict[str, Group]:
    return make_groups()


@pytest.fixture
def obs(groups: dict[str, Group]) -> dict[str, np.ndarray]:
    return make_obs(groups)


@pytest.fixture
def observe():
    """side -> (groups, observations) with square images of that side."""
    return lambda side: (make_groups(side), make_obs(make_groups(side)))
