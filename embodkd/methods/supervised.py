"""Supervised learning: cross-entropy on the labels, the arm that every other method is compared with.

Equation: loss = -log softmax(logits)[label], with the label smoothed over all classes if asked (Szegedy et al. 2016,
section 7).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from embodkd.core import Budget, Player, Recipe, Role, Signals, Splits, Teachers, cross_entropy
from embodkd.core.config.ranges import Share, Whole
from embodkd.methods import METHODS
from embodkd.parts.images.augment import shifts


@METHODS.register(
    "supervised",
    domain="vision",
    needs="splits",
    family="logits",
    paper="arXiv:1512.00567",
    title="Supervised learning on labels",
)
@dataclass(frozen=True)
class Supervised:
    """label_smoothing: the share of the target that is spread evenly over all classes.

    shift: images are moved at random by up to so many whole pixels along each axis, anew in each update.
    """

    label_smoothing: Share = 0.0
    shift: Whole = 0

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage; a teacher, if there is one, is not asked."""

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"ce": cross_entropy(s.logits_NC, batch.label_N, smoothing=self.label_smoothing)}

        prepare = (shifts(self.shift),) if self.shift else ()
        return budget.fit(Player(Role(student), terms, optimiser=budget.optimiser), data.train, prepare=prepare)
