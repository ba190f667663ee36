"""Supervised learning: cross-entropy on the labels, the arm that every other method is compared with.

Equation: loss = -log softmax(logits)[label], with the label smoothed over all classes if asked (Szegedy et al. 2016,
section 7). The labels of a text are its own tokens, each given those before it; tokens of prompts and behind the end
are none. The mean is over all tokens of a batch. The label of an image in pairs is its own text among all of the batch,
and the other way round: CLIP's loss (Radford et al., arXiv:2103.00020), the scale learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Pairs,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Teachers,
    Texts,
    by_position,
    cross_entropy,
    pair_contrast,
)
from embodkd.core.config.ranges import Share, Whole
from embodkd.methods import METHODS
from embodkd.parts.images.augment import shifts


@METHODS.register(
    "supervised",
    domain="vision",
    needs=("splits", "texts", "pairs"),
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
        self, student: nn.Module, teachers: Teachers, data: Splits | Texts | Pairs, *, seed: int = 0, budget: Budget
    ) -> Recipe:
        """One stage; a teacher, if there is one, is not asked. ValueError for a shift of what is no image, and for
        labels of pairs to smooth."""
        pictures = isinstance(data, Splits) and len(data.shape) == 3
        if self.shift and not pictures:
            raise ValueError(f"method supervised: shift={self.shift} moves images, and these data are none; leave it 0")

        if self.label_smoothing and isinstance(data, Pairs):
            raise ValueError("method supervised: label_smoothing belongs to classes, and pairs have none; leave it 0")

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"ce": cross_entropy(s.logits_NC, batch.label_N, smoothing=self.label_smoothing)}

        def of_tokens(batch: Signals, s: Signals) -> dict[str, Tensor]:
            ce = partial(cross_entropy, smoothing=self.label_smoothing)
            return {"ce": by_position(ce, s.logits_NTV, batch.tokens_NT)}

        def of_pairs(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"ce": pair_contrast(torch.stack([s.image_ND, s.text_ND], 1), scale=s.scale_N)}

        of_kind = {"texts": of_tokens, "pairs": of_pairs}
        prepare = (shifts(self.shift),) if self.shift else ()
        player = Player(
            Role(student),
            of_kind.get(data.kind, terms),
            mass={"ce": "mask"} if data.kind == "texts" else {},
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train, prepare=prepare)
