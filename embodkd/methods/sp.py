"""SP, similarity-preserving distillation (Tung and Mori, ICCV 2019): items alike to the teacher stay alike.

Equation (their eq. 2-5), for a layer's activations A (N, ...), flattened per item, of a batch of N items:
    G = A A^T, each row divided by its length,
    loss = CE(label, student) + weight * 1/N^2 |G_teacher - G_student|_F^2, summed over the pairs of layers.

Details
- Teacher and student may have any widths and sizes: only the N x N similarities are compared.
- Without `student_taps` the last map is compared, or the embedding of a network without maps.
- The term is the mean over items of a row's squared distance / N. It needs the whole batch.

Deviations: none. The paper's weight of 3000 is for batches of 128 and the last layer of each stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Teachers,
    collect,
    cross_entropy,
    one_teacher,
    similarity,
)
from embodkd.core.config.ranges import NotNegative
from embodkd.methods import METHODS


@METHODS.register(
    "sp",
    domain="vision",
    needs="splits",
    family="relations",
    paper="arXiv:1907.09682",
    title="Similarity-preserving distillation (SP)",
)
@dataclass(frozen=True)
class SP:
    """weight: gamma of the paper. student_taps, teacher_taps: the layers that are compared, one with one; none: the
    last map or the embedding."""

    weight: NotNegative = 3000.0
    student_taps: tuple[str, ...] = ()
    teacher_taps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.student_taps) != len(self.teacher_taps):
            raise ValueError(
                f"method sp: student_taps {list(self.student_taps)} and teacher_taps {list(self.teacher_taps)} must be "
                "as many, since each layer is compared with one"
            )

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage against the frozen teacher."""

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            layers = [similarity(s[name], t[name]) for name in _compared(s, len(self.student_taps))]
            return {"ce": cross_entropy(s.logits_NC, batch.label_N), "sp": sum(layers[1:], layers[0])}

        player = Player(
            Role(student, taps=_named(self.student_taps)),
            terms,
            given={"t": Role(one_teacher(teachers, "sp"), "frozen", taps=_named(self.teacher_taps))},
            weights={"sp": self.weight},
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train)

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """similarity_gap: on the test part in batches of 64, how far the embeddings' similarities are from those of the
        teacher's, times the batch's size, in [0, 4]."""
        roles = (Role(student, "frozen"), Role(one_teacher(teachers, "sp"), "frozen"))
        pieces = zip(*(collect(role, data.test).embedding_ND.split(64) for role in roles), strict=True)
        return {"similarity_gap": float(torch.cat([len(s) * similarity(s, t) for s, t in pieces]).mean())}


def _named(taps: Sequence[str]) -> dict[str, str]:
    return {f"layer_{k}": name for k, name in enumerate(taps)}


def _compared(s: Signals, layers: int) -> list[str]:
    """The signals that are compared: the tapped ones, else the last map, else the embedding."""
    return [f"layer_{k}" for k in range(layers)] or (["map"] if "map" in s else ["embedding"])
