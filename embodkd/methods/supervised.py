"""Supervised learning: cross-entropy on the labels, the arm that every other method is compared with.

Equation: loss = -log softmax(logits)[label], with the label smoothed over all classes if asked (Szegedy et al. 2016,
section 7). The labels of a text are its own tokens, each given those before it; tokens of prompts and behind the end
are none. The mean is over all tokens of a batch. The label of an image in pairs is its own text among all of the batch,
and the other way round: CLIP's loss (Radford et al., arXiv:2103.00020), the scale learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Pairs,
    Player,
    Recipe,
    Role,
    Signals,
    Speech,
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
from embodkd.parts.speech.attending import MASS, READS, attending


@METHODS.register(
    "supervised",
    domain="vision",
    needs=("splits", "texts", "pairs", "speech"),
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
        self,
        student: nn.Module,
        teachers: Teachers,
        data: Splits | Texts | Pairs | Speech,
        *,
        seed: int = 0,
        budget: Budget,
    ) -> Recipe:
        """One stage; a teacher, if there is one, is not asked. ValueError for a shift of what is no image, for labels
        of pairs or speech to smooth, and for a speaker that does not attend."""
        pictures = isinstance(data, Splits) and len(data.shape) == 3
        if self.shift and not pictures:
            raise ValueError(f"method supervised: shift={self.shift} moves images, and these data are none; leave it 0")

        if self.label_smoothing and isinstance(data, Pairs | Speech):
            what = "pairs" if isinstance(data, Pairs) else "speech"
            raise ValueError(f"method supervised: label_smoothing belongs to classes, and {what} has none; leave it 0")
        if isinstance(data, Speech):
            return self._spoken(student, data, budget)

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

    def _spoken(self, student: nn.Module, data: Speech, budget: Budget) -> Recipe:
        net: Any = student
        if not hasattr(student, "ahead"):
            raise ValueError(
                f"method supervised: of speech trains an attention_tts; a {type(student).__name__} learns by "
                "method=fastspeech2"
            )
        net.calibrate(data.train)
        player = Player(Role(student, view=READS), partial(attending, net), mass=MASS, optimiser=budget.optimiser)
        return budget.fit(player, data.train)
