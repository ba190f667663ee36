"""Ray cameras of the floating-gripper peg scene: frames per CPU-second."""

from __future__ import annotations

import numpy as np
from embodkd.envs import make_task

from benchmarks.measure import Contender, Line, median_interval, summary, take_turns

COMMAND = "python -m benchmarks camera"
COPIES, CALLS = 64, 6
TARGETS = {"wrist_depth": ("depth 64x64, rays", 1500.0), "points": ("512-point cloud, rays", 6000.0)}


def lines() -> list[Line]:
    """One line per camera group, looking at copies in the midst of their episodes."""
    task = make_task("peg_hole", COPIES, image_size=64)
    task.reset(np.arange(COPIES))
    rng = np.random.default_rng(0)
    for _ in range(15):
        task.step(rng.uniform(-1, 1, (COPIES, task.spec.action_size)))

    def look(group: str) -> None:
        for _ in range(CALLS):
            task.observe([group])

    samples = take_turns({group: Contender(lambda group=group: look(group)) for group in TARGETS})
    found = []
    for group, (name, target) in TARGETS.items():
        value, interval = median_interval([CALLS * COPIES / sample.cpu for sample in samples[group]])
        details = summary({group: samples[group]}, CALLS * COPIES) | {"unit_of_rates": "frames", "copies": COPIES}
        found.append(Line(name, value, interval, "per CPU-s", ">=", target, COMMAND, details))
    return found
