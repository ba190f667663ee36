"""Features of inner layers: their sizes, their pooled form, and projectors between two networks'."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from embodkd.core.modules.taps import Tap
from embodkd.core.role import Role
from embodkd.core.sources.source import Source
from embodkd.core.terms.base import precise


def feature_shapes(model: nn.Module, source: Source, taps: Mapping[str, str | Tap]) -> dict[str, tuple[int, ...]]:
    """The shape per item of every signal of `model`, taps included, found by asking it for the first item.

    It is asked in evaluation mode and without gradient, so nothing in it changes.
    """
    signals = Role(model, "frozen", taps=taps).signals(source.gather(np.arange(1), 0))
    return {name: tuple(value.shape[1:]) for name, value in signals.items()}


def pooled(feature: Tensor) -> Tensor:
    """One vector per item: (N, D) stays, a map (N, D, H, W) is averaged, of tokens (N, T, D) the first is taken.

    In float32 at least, so that a head outside of mixed precision can read it.
    """
    feature = precise(feature)
    if feature.ndim == 2:
        return feature
    if feature.ndim not in (3, 4):
        raise ValueError(f"a feature of shape {tuple(feature.shape)} is neither vectors, tokens nor a map")
    return feature.mean((2, 3)) if feature.ndim == 4 else feature[:, 0]


def pooled_width(shape: tuple[int, ...]) -> int:
    """The length of `pooled`'s vectors for a feature of this shape per item."""
    return shape[-1] if len(shape) == 2 else shape[0]


def projector(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
    """A linear map from the student's feature to one of the teacher's shape (shapes per item).

    Vectors and tokens: a linear layer. Maps: a convolution without padding, just so large that the sizes agree
    (1 x 1 where they do already). ValueError if a map of the student is smaller than the teacher's.
    """
    if len(student) != len(teacher):
        raise ValueError(f"no projector from a feature of shape {student} to one of {teacher}: tap layers of one kind")
    if len(student) < 3:
        if len(student) == 2 and student[0] != teacher[0]:
            raise ValueError(f"no projector from {student[0]} tokens to {teacher[0]}: tap layers of equal length")
        return nn.Linear(student[-1], teacher[-1])
    kernel = (student[1] - teacher[1] + 1, student[2] - teacher[2] + 1)
    if min(kernel) < 1:
        raise ValueError(
            f"no projector from a map of {student[1:]} to a larger one of {teacher[1:]}: tap an earlier layer of the "
            "student or a later one of the teacher"
        )
    return nn.Conv2d(student[0], teacher[0], kernel)
