"""A model that answers in another label space than the data have: a teacher of features or of an unlabelled pool."""

from __future__ import annotations

from typing import Any

from embodkd.core.config.registry import Registry
from embodkd.evaluation.judgement import Judgement

MEASURES = Registry("measure of a model of other classes")
"""There is none: no answer of it is right or wrong."""


def measured(product: Any, data: Any, classify: Any = None, device: Any = "cpu") -> dict[str, float]:
    """Nothing."""
    return {}


def judgement(model: Any, data: Any, part: str, device: Any) -> Judgement:
    """ValueError: there is nothing to judge it by."""
    raise ValueError(
        f"{type(model).__name__} answers with {model.classes} classes of its own, the data have {data.classes}: it can "
        "teach, and cannot be judged by these data"
    )
