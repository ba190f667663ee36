"""A table so small that it is filled in a second, and what tests say about it."""

from __future__ import annotations

from typing import Any

TABLE: dict[str, Any] = {
    "slug": "toy",
    "title": "a toy",
    "data": {"name": "digits", "train": 60, "validation": 40, "corruptions": {"noise": 3}},
    "teachers": {
        "teacher": {
            "model": {"name": "mlp", "hidden": [16]},
            "method": {"name": "supervised"},
            "budget": {"updates": 30},
        }
    },
    "student": {"name": "mlp", "hidden": [8]},
    "budget": {"updates": 10, "batch_size": 30},
    "seeds": [0, 1],
    "arms": {
        "alone": {"role": "student_alone", "method": {"name": "supervised"}},
        "kd": {"role": "method", "method": {"name": "kd"}},
    },
    "checks": [
        {"claim": "one update is enough", "left": "kd.nll", "below": 100, "over": "every_seed"},
        {"claim": "it learns nothing", "left": "kd.accuracy", "below": "teacher.accuracy", "margin": -200},
    ],
}

ALL = [f"{cell}/{seed}" for seed in (0, 1) for cell in ("teachers/teacher", "arms/alone", "arms/kd")]


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """What a result says, without when, where and how long."""
    arms = {**result["arms"], **result["teachers"]}
    return {
        "measures": {name: arm["measures"] for name, arm in arms.items()},
        **{key: result[key] for key in ("comparisons", "checks")},
    }
