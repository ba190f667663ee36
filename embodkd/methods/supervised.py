"""Supervised learning: cross-entropy on the labels, the arm that every other method is compared with.

Equation: loss = -log softmax(logits)[label], with the label smoothed over all classes if asked (Szegedy et al. 2016,
section 7). The labels of a text are its own tokens, each given those before it; tokens of prompts and behind the end
are none.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from embodkd.core import Budget, Player, Recipe, Role, Signals, Splits, Teachers, Texts, cross_entropy
from embodkd.core.config.ranges import Share, Whole
from embodkd.methods import METHODS
from embodkd.parts.images.augment import shifts


@METHODS.register(
    "supervised",
    domain="vision",
    needs=("splits", "texts"),
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

    def recipe(
        self, student: nn.Module, teachers: Teachers, data: Splits | Texts, *, seed: int = 0, budget: Budget
    ) -> Recipe:
        """One stage; a teacher, if there is one, is not asked. ValueError for a shift of what is no image."""
        pictures = isinstance(data, Splits) and len(data.shape) == 3
        if self.shift and not pictures:
            raise ValueError(f"method supervised: shift={self.shift} moves images, and these data are none; leave it 0")

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"ce": cross_entropy(s.logits_NC, batch.label_N, smoothing=self.label_smoothing)}

        def of_tokens(batch: Signals, s: Signals) -> dict[str, Tensor]:
            smoothing, mask_NT = self.label_smoothing, batch.mask_NT
            return {"ce": cross_entropy(s.logits_NTV, batch.tokens_NT, smoothing=smoothing, mask=mask_NT)}

        prepare = (shifts(self.shift),) if self.shift else ()
        player = Player(Role(student), of_tokens if isinstance(data, Texts) else terms, optimiser=budget.optimiser)
        return budget.fit(player, data.train, prepare=prepare)
