"""Cameras of every task: frames per CPU-second as they see by themselves, and what rays or shapes alone would cost.

What a camera draws by shapes when left to itself (``Camera.shapes``) should be what costs less here.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from embodkd.envs import make_task, task_names
from embodkd.envs.camera import By
from embodkd.envs.sim.camera import SimCamera

from benchmarks.measure import Contender, Line, Sample, median_interval, ratios, summary, take_turns

COMMAND = "python -m benchmarks camera"
COPIES, SIDE, WARM = 64, 64, 15
# kind -> how many calls are timed as one
CALLS = {"depth": 4, "points": 16, "rgb": 2, "segmentation": 2}
TARGETS = {"depth": 10_000.0, "points": 30_000.0}
_NAMES = {"depth": f"depth {SIDE}x{SIDE}", "points": "512-point cloud"}
_WAYS: tuple[By, ...] = ("auto", "rays", "shapes")


def lines() -> list[Line]:
    """Frames per CPU-second of the peg's camera on the hand; and of each kind how wrongly a camera chose."""
    found = {task: _cameras(task) for task in task_names()}
    peg = found["peg_hole"]["wrist"]
    return [_speed(kind, target, peg[kind]) for kind, target in TARGETS.items()] + [
        _gain(kind, {f"{task} {eye}": of[kind] for task, eyes in found.items() for eye, of in eyes.items()})
        for kind in CALLS
    ]


def _cameras(name: str) -> dict[str, dict[str, dict[str, list[Sample]]]]:
    """Camera -> kind -> way -> samples, looking at copies in the midst of their episodes."""
    with closing(make_task(name, COPIES, image_size=SIDE)) as task:
        task.reset(np.arange(COPIES))
        rng = np.random.default_rng(0)
        for _ in range(WARM):
            task.step(rng.uniform(-1, 1, (COPIES, task.spec.action_size)))
        eyes: list[SimCamera] = list(task.world.cameras.values())  # type: ignore[attr-defined]
        return {eye.camera.name: {kind: _timed(eye, kind) for kind in CALLS} for eye in eyes}


def _timed(eye: SimCamera, kind: str) -> dict[str, list[Sample]]:
    def look(by: By) -> None:
        eye.by = by
        for _ in range(CALLS[kind]):
            getattr(eye, kind)()

    return take_turns({by: Contender(partial(look, by)) for by in _WAYS})


def _speed(kind: str, target: float, samples: dict[str, list[Sample]]) -> Line:
    frames = CALLS[kind] * COPIES
    value, interval = median_interval([frames / sample.cpu for sample in samples["auto"]])
    details = summary(samples, frames) | {"unit_of_rates": "frames", "copies": COPIES}
    return Line(_NAMES[kind], value, interval, "per CPU-s", ">=", target, COMMAND, details)


def _gain(kind: str, samples: dict[str, dict[str, list[Sample]]]) -> Line:
    """The cheaper of rays and shapes over as chosen, of the camera that chose worst: 1 where it chose right."""
    each: dict[str, dict[str, Any]] = {}
    for camera, of in samples.items():
        for other in ("rays", "shapes"):
            value, interval = median_interval(ratios(of[other], of["auto"]))
            each.setdefault(camera, {})[other] = {"ratio": round(value, 3), "interval": [round(i, 3) for i in interval]}
    worst = min((row for rows in each.values() for row in rows.values()), key=lambda row: row["ratio"])
    details = {"unit_of_rates": "x CPU of what was chosen", "cameras": each}
    low, high = worst["interval"]
    return Line(f"{kind}, cheaper way / as chosen", worst["ratio"], (low, high), "x CPU", ">=", 0.95, COMMAND, details)
