"""Knowledge distillation (Hinton, Vinyals, Dean 2015): learn from the teacher's softened class distribution.

Equation (their section 2, eq. 1): p(T) = softmax(logits / T),
    loss = (1 - alpha) * CE(label, p_student(1)) + alpha * T^2 * KL(p_teacher(T) || p_student(T)).

Details: T^2 keeps the gradient's size whatever T is; the teacher is frozen and in evaluation mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from embodkd.core import Budget, Player, Recipe, Role, Signals, Splits, Teachers, cross_entropy, kl, one_teacher
from embodkd.core.config.ranges import Positive, Share
from embodkd.methods import METHODS


@METHODS.register(
    "kd", domain="vision", needs="splits", family="logits", paper="arXiv:1503.02531", title="Knowledge distillation"
)
@dataclass(frozen=True)
class KD:
    """temperature softens both distributions; alpha is the teacher's share of the loss, the labels have the rest."""

    temperature: Positive = 4.0
    alpha: Share = 0.5

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage against the frozen teacher."""

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            return {
                "ce": cross_entropy(s.logits_NC, batch.label_N),
                "kd": kl(s.logits_NC, t.logits_NC, temperature=self.temperature),
            }

        player = Player(
            Role(student),
            terms,
            given={"t": Role(one_teacher(teachers, "kd", data), "frozen")},
            weights={"ce": 1.0 - self.alpha, "kd": self.alpha},
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train)
