"""REDI (arXiv:2505.24850): what a teacher gets wrong teaches too, with less weight than what it gets right.

Equation (their section 2.3), x a problem, w a right and l a wrong trace of the teacher, log p(y | x) a sum over the
tokens of the trace, |y| their number, the end included:
    loss = mean over pairs of  -log p(w | x) / |w|  +  alpha * log p(l | x) / |l|.

Details
- Stage 1 learns from the right traces of all problems, as usual; stage 2 starts there, with a new optimiser, on the
  problems that have a right and a wrong trace. There is no reference model, no margin and no divergence.
- Each trace is divided by its own length before pairs are averaged; prompts are not learned.
- Alpha 0 is stage 1 on the pairs' right traces, trace by trace; alpha 1 is the limit of SimPO for small beta.
- Both mean log-probabilities are logged: they fall slowly together; a sudden fall of both is a collapse.

Deviations
- The first wrong trace of a problem is taken (which one is not said); the mean of stage 1 over tokens is not said
  either (`reduction`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from embodkd.core import (
    Budget,
    Context,
    Player,
    Recipe,
    Role,
    Signals,
    Stage,
    Step,
    Teachers,
    Texts,
    by_position,
    cross_entropy,
    one_teacher,
)
from embodkd.core.config.ranges import Count, NotNegative, Part, Positive, Share, Some
from embodkd.core.weights.schedule import WeightCurve
from embodkd.methods import METHODS
from embodkd.parts.texts.traces import Traces


@METHODS.register(
    "redi",
    domain="language",
    needs="texts",
    family="traces",
    paper="arXiv:2505.24850",
    title="Right and wrong traces (REDI)",
)
@dataclass(frozen=True)
class REDI:
    """Hyper-parameters.

    alpha: of the wrong traces. gain: their term times exp(gain * its mean log-probability), which bounds it; 0 is off.
    pairs: what stage 2 minimises, "redi", its rivals "dpo" and "simpo", or "right", which goes on with stage 1; beta,
    gamma: of the rivals. tries, temperature, top_p: how the teacher is asked. share: of the budget that stage 1 has;
    pair_rate: the learning rate of stage 2 (null: the budget's). reduction: of stage 1, over tokens or traces.
    """

    alpha: Share = 0.8
    gain: NotNegative = 0.0
    pairs: Literal["redi", "dpo", "simpo", "right"] = "redi"
    beta: Positive = 0.1
    gamma: NotNegative = 1.0
    tries: Count = 8
    temperature: Positive = 1.0
    top_p: Some = 1.0
    share: Part = 0.75
    pair_rate: WeightCurve | None = None
    reduction: Literal["tokens", "traces"] = "tokens"

    def recipe(self, student: nn.Module, teachers: Teachers, data: Texts, *, seed: int = 0, budget: Budget) -> Recipe:
        """The teacher's traces, a stage on the right ones, a stage on the pairs."""
        teacher = one_teacher(teachers, "redi", data)
        traces = Traces(teacher, data, tries=self.tries, temperature=self.temperature, top_p=self.top_p, seed=seed)
        first, second = budget.split(self.share)
        if self.pair_rate is not None:
            second = replace(second, optimiser=replace(second.optimiser, learning_rate=self.pair_rate))
        imitator = self.imitator(student, budget)
        stages: list[Stage | Step] = [traces, first.stage(imitator, traces.right, name="right")]
        if self.pairs == "right":
            stages.append(second.stage(imitator, traces.right, name="pairs"))
            return Recipe(tuple(stages), student)
        given: dict[str, Any] = {"wrong": Role(student, view="rejected")}
        if self.pairs == "dpo":
            reference = copy.deepcopy(student).requires_grad_(False)
            stages.append(_Handed(student, reference))
            given |= {f"ref_{side}": Role(reference, "snapshot", view=side) for side in ("chosen", "rejected")}
        player = Player(
            Role(student, view="chosen"),
            getattr(self, self.pairs),
            given=given,
            weights={"wrong": self.alpha} if self.pairs == "redi" else {},
            logged=("log_p_right", "log_p_wrong"),
            optimiser=second.optimiser,
        )
        return Recipe((*stages, second.stage(player, traces.pairs, name="pairs")), student)

    def imitator(self, student: nn.Module, budget: Budget) -> Player:
        """Who learns from right traces."""

        def tokens(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"nll": by_position(cross_entropy, s.logits_NTV, batch.tokens_NT)}

        def traces(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"nll": cross_entropy(s.logits_NTV, batch.tokens_NT, mask=batch.mask_NT)}

        over_tokens = self.reduction == "tokens"
        return Player(
            Role(student),
            tokens if over_tokens else traces,
            mass={"nll": "mask"} if over_tokens else {},
            optimiser=budget.optimiser,
        )

    def redi(self, batch: Signals, s: Signals, wrong: Signals) -> dict[str, Tensor]:
        """The two terms; the second one's weight is alpha."""
        right_N, wrong_N = log_p(s, batch, "chosen"), log_p(wrong, batch, "rejected")
        bound_N = torch.exp(self.gain * wrong_N) if self.gain else 1.0
        return {"right": -right_N, "wrong": wrong_N * bound_N, **_watched(right_N, wrong_N)}

    def simpo(self, batch: Signals, s: Signals, wrong: Signals) -> dict[str, Tensor]:
        """-log sigmoid(beta (mean log p(w) - mean log p(l)) - gamma): Meng et al. 2024, eq. 6."""
        right_N, wrong_N = log_p(s, batch, "chosen"), log_p(wrong, batch, "rejected")
        return {"pair": -logsigmoid(self.beta * (right_N - wrong_N) - self.gamma), **_watched(right_N, wrong_N)}

    def dpo(
        self, batch: Signals, s: Signals, wrong: Signals, ref_chosen: Signals, ref_rejected: Signals
    ) -> dict[str, Tensor]:
        """-log sigmoid(beta (log p/ref(w) - log p/ref(l))), sums over tokens: Rafailov et al. 2023, eq. 7."""
        right_N, wrong_N = log_p(s, batch, "chosen"), log_p(wrong, batch, "rejected")
        gained_N = (right_N - log_p(ref_chosen, batch, "chosen")) * batch["chosen_mask"].sum(1)
        lost_N = (wrong_N - log_p(ref_rejected, batch, "rejected")) * batch["rejected_mask"].sum(1)
        return {"pair": -logsigmoid(self.beta * (gained_N - lost_N)), **_watched(right_N, wrong_N)}


def log_p(signals: Signals, batch: Signals, side: str) -> Tensor:
    """The mean log-probability of the tokens of each trace, (N,)."""
    return -cross_entropy(signals.logits_NTV, batch[side], mask=batch[f"{side}_mask"])


def _watched(right_N: Tensor, wrong_N: Tensor) -> dict[str, Tensor]:
    return {"log_p_right": right_N.detach(), "log_p_wrong": wrong_N.detach()}


class _Handed:
    """A step: the reference is the student as it is then."""

    def __init__(self, student: nn.Module, reference: nn.Module) -> None:
        self._student, self._reference = student, reference

    def __call__(self, context: Context) -> None:
        self._reference.load_state_dict(self._student.state_dict())
