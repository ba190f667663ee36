"""Self-distillation guided by labels (Borup and Andersen 2021): a student taught by its former self, and by labels.

Equation, with p = softmax of the logits and y the one-hot label, for round t > 1 taught by round t-1:
    loss = alpha * MSE(p, y) + (1 - alpha) * MSE(p, p of round t-1) + decay * sum over parameter tensors of |w|_2,
and MSE(p, y) in the place of the first two in round 1.

Details
- MSE is the mean over batch and classes; no temperature; the former self is frozen and in evaluation mode.
- Every round starts from new weights and has the whole budget; only the last round's student is kept.
- Without a given alpha two students are enough to estimate it: the first round's (alpha = 1) and one that learns from
  that one alone (alpha = 0). Between their answers alpha is the best share, on the validation part; it is clipped to
  [0, 1], and serves all later rounds.
- Decay sums lengths, not squares.

Deviations: the loss of round 1 is the plain one whatever alpha is. A given teacher is not asked. What happens exactly,
for kernel regression, is in `core.kernel`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Controller,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Stage,
    Step,
    Succession,
    Teachers,
    collect,
    squared_error,
)
from embodkd.core.config.ranges import Count, NotNegative, Within
from embodkd.core.steps import Start
from embodkd.core.terms.base import precise
from embodkd.methods import METHODS
from embodkd.parts.self_distillation.best_share import best_share


class Share(Controller):
    """Weights alpha of the term `label` and 1 - alpha of `teacher`; alpha is a buffer that a step may set."""

    alpha: Tensor

    def __init__(self, alpha: float, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("alpha", torch.tensor(alpha))

    def forward(self, means: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """The same weights whatever the terms come to."""
        return self.known()

    def known(self) -> dict[str, float | Tensor]:
        """The share, and the decay."""
        return {"label": self.alpha, "teacher": 1.0 - self.alpha, "decay": self.decay}


@METHODS.register(
    "even_teacher",
    domain="vision",
    needs="splits",
    family="self",
    paper="arXiv:2102.13088",
    card="even_teacher",
    title="Self-distillation with ground-truth targets, round after round",
)
@dataclass(frozen=True)
class EvenTeacher:
    """rounds: trainings, the first plain. alpha: the labels' share from round 2 on; None estimates it, which takes one
    training more. decay: weight of the parameters' lengths. start: "fresh" weights for every round, or always the
    "first" ones, for networks that cannot draw new ones.
    """

    rounds: Count = 5
    alpha: Annotated[float, Within(0.0, 1.0)] | None = None
    decay: NotNegative = 1e-4
    start: Start = "fresh"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"even_teacher.rounds: must be at least 1, got {self.rounds}")
        if self.alpha is not None and not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"even_teacher.alpha: must lie in [0, 1], got {self.alpha}")

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """The plain fit; if asked for, the student of pure distillation and the estimate; then the guided rounds."""
        former = copy.deepcopy(student)
        guided = Share(0.0 if self.alpha is None else self.alpha, self.decay)
        stages: list[Stage | Step] = [self.round(student, None, None, data, budget, "round_1")]
        succession = 0

        def succeed(into: nn.Module | None) -> Succession:
            nonlocal succession
            succession += 1
            return Succession(student, into, seed, succession, start=self.start)

        if self.alpha is None and self.rounds > 1:
            pure = self.round(student, former, Share(0.0, self.decay), data, budget, "pure")
            stages += [succeed(former), pure, estimate(student, former, data, guided), succeed(None)]
        for number in range(2, self.rounds + 1):
            # The estimate has made the first round's student the teacher already.
            if number > 2 or self.alpha is not None:
                stages.append(succeed(former))
            stages.append(self.round(student, former, guided, data, budget, f"round_{number}"))
        return Recipe(tuple(stages), student)

    def round(
        self, student: nn.Module, former: nn.Module | None, share: Share | None, data: Splits, budget: Budget, name: str
    ) -> Stage:
        """One training, from labels alone without a former self."""

        def terms(batch: Signals, s: Signals, t: Signals | None = None) -> dict[str, Tensor]:
            p_NC = probabilities(s)
            label_NC = nn.functional.one_hot(batch.label_N, p_NC.shape[1]).to(p_NC)
            found = {"label": squared_error(p_NC, label_NC)}
            if t is not None:
                found["teacher"] = squared_error(p_NC, probabilities(t))
            return {**found, "decay": lengths(student).expand(len(p_NC))}

        given = {} if former is None else {"t": Role(former, "snapshot")}
        weights = {"decay": self.decay} if share is None else share
        player = Player(Role(student), terms, given=given, weights=weights, optimiser=budget.optimiser)
        return budget.stage(player, data.train, name=name)

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """On the test part: the mean probability of the answer (sureness), which regularisation lowers."""
        s = collect(Role(student, "frozen"), data.test)
        return {"sureness": float(probabilities(s).max(1).values.mean())}


def probabilities(signals: Signals) -> Tensor:
    """Softmax of the logits, (N, C), in float32 at least."""
    return precise(signals.logits_NC).softmax(-1)


def lengths(model: nn.Module) -> Tensor:
    """Sum over the parameter tensors that learn of their Euclidean lengths."""
    return torch.stack([precise(p).flatten().norm() for p in model.parameters() if p.requires_grad]).sum()


def estimate(student: nn.Module, former: nn.Module, data: Splits, guided: Share) -> Step:
    """A step that sets the share: of the first round's student `former` and of `student`, who learned from it alone."""

    def step(context: Context) -> dict[str, float]:
        plain, pure = (collect(Role(m, "snapshot"), data.validation, device=context.device) for m in (former, student))
        label_NC = nn.functional.one_hot(plain.label_N, data.classes).double()
        guided.alpha.fill_(best_share(probabilities(plain).double(), probabilities(pure).double(), label_NC))
        return {"alpha": float(guided.alpha)}

    return step
