"""FitNets (Romero et al., ICLR 2015): first learn the teacher's inner layer, then its answers.

Equation (their section 2.2), h the teacher's hint layer, g the student's guided layer, r a linear regressor:
    stage 1: loss = |h(x) - r(g(x))|^2            (the student up to g, and r)
    stage 2: loss = ce * CE + kd * KL(p_teacher(T) || p_student(T))     (the whole student)

Details
- Vectors have a linear regressor, maps a convolution without padding, just so large that the sizes agree.
- `hint_share` of the budget goes to stage 1. With 0 there is one stage that has all three losses at once, as most
  later papers use hints (Tian et al. 2020 with hint = 100).
- `kd` falls from 4 to 1 over stage 2, without the factor T^2, as in the paper.

Deviations: the squared error is the mean over an entry, not half the sum: Adam does not see the difference in stage 1.
The paper's stage 1 ends when a validation error stops falling; here both stages have a fixed length, so that the
method has the budget of those that it is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Player,
    Recipe,
    Role,
    Signals,
    Source,
    Splits,
    Teachers,
    Terms,
    collect,
    cross_entropy,
    kl,
    linear,
    one_teacher,
    squared_error,
)
from embodkd.core.config.ranges import NotNegative, Part, Positive
from embodkd.core.terms.base import precise
from embodkd.core.weights.schedule import WeightCurve
from embodkd.methods import METHODS
from embodkd.parts.networks.features import feature_shapes, pooled, projector


@METHODS.register(
    "fitnets",
    domain="vision",
    needs="splits",
    family="features",
    paper="arXiv:1412.6550",
    title="Hints for thin deep nets (FitNets)",
)
@dataclass(frozen=True)
class FitNets:
    """student_tap and teacher_tap name the guided and the hint layer; `hint` weighs the distance between them.

    hint_share: part of the budget for the hints alone, 0 to learn all at once. ce, kd: weights of the labels and of
    the teacher's answers, softened by `temperature`; kd may be a schedule. scale_by_t2: multiply that by T^2.
    """

    student_tap: str = "layers.0"
    teacher_tap: str = "layers.0"
    hint: NotNegative = 1.0
    hint_share: Part = 0.5
    ce: NotNegative = 1.0
    kd: WeightCurve = linear(4.0, 1.0)
    temperature: Positive = 3.0
    scale_by_t2: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.hint_share < 1.0:
            raise ValueError(f"method fitnets: hint_share must lie in [0, 1), got {self.hint_share}")

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """Hints, then answers; or one stage of both."""
        taught = one_teacher(teachers, "fitnets", data)
        guided, hinting = {"hint": self.student_tap}, {"hint": self.teacher_tap}
        shapes = [feature_shapes(m, data.train, taps)["hint"] for m, taps in ((student, guided), (taught, hinting))]
        regressor = projector(*shapes)

        def hint(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            return {"hint": squared_error(regressor(precise(s.hint)), t.hint)}

        def answers(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            soft_N = kl(s.logits_NC, t.logits_NC, temperature=self.temperature, scale_by_t2=self.scale_by_t2)
            return {"ce": cross_entropy(s.logits_NC, batch.label_N), "kd": soft_N}

        def both(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            return {**answers(batch, s, t), **hint(batch, s, t)}

        def player(terms: Terms, weights: dict[str, Any], hints: bool) -> Player:
            return Player(
                Role(student, taps=guided),
                terms,
                given={"t": Role(taught, "frozen", taps=hinting)},
                weights=weights,
                helpers={"regressor": regressor} if hints else {},
                optimiser=budget.optimiser,
            )

        weights = {"ce": self.ce, "kd": self.kd}
        if not self.hint_share:
            return budget.fit(player(both, {**weights, "hint": self.hint}, True), data.train)
        first, second = budget.split(self.hint_share)
        hinted = first.stage(player(hint, {"hint": self.hint}, True), data.train, name="hints")
        return Recipe((hinted, second.stage(player(answers, weights, False), data.train, name="answers")), student)

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """hint_r2: share of the teacher's (pooled) hint that a linear map of the student's explains on the test part.

        The map is fitted on the training part by least squares with a small ridge.
        """
        taught = one_teacher(teachers, "fitnets", data)

        def seen(model: nn.Module, tap: str, source: Source) -> Tensor:
            return pooled(collect(Role(model, "frozen", taps={"hint": tap}), source).hint).double()

        parts = (data.train, data.test)
        (x, x_test), (y, y_test) = (
            [seen(model, tap, part) for part in parts]
            for model, tap in ((student, self.student_tap), (taught, self.teacher_tap))
        )
        centre, level = x.mean(0), y.mean(0)
        x, y = x - centre, y - level
        ridge = 1e-6 * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        slope = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
        error = (y_test - level - (x_test - centre) @ slope).square().sum()
        return {"hint_r2": float(1.0 - error / (y_test - y_test.mean(0)).square().sum())}
