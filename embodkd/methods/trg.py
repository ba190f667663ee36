"""TRG, token-level relationship graph (Zhang, Liu, He 2023): keep the neighbourhoods of patches drawn from the batch.

Equation, with T the M = N * R tokens of a batch, R drawn at random from each image at the same places for both nets:
    A_ij = exp(-|T_i - T_j|^2 / (2 sigma)) where i is among the k nearest of j, else 0,
    L_local  = mean over i of KL(softmax_j A^S_ij || softmax_j A^T_ij),
    L_global = mean over i of -log softmax_j(cosine(h(T^S_i), T^T_j) / tau) at j = i, h linear,
    L_inner  = mean over images of |softmax(F^S F^S' / sqrt(d_S)) - softmax(F^T F^T' / sqrt(d_T))|^2, F its own tokens,
    loss = ce * CE + kd * T^2 KL(p^T || p^S) + inner * L_inner + local * L_local + contrast * L_global.

Details
- Tokens are the map before pooling, averaged onto a grid, or a transformer's patches; the class token is dropped.
- tau falls over training: coarse structure first, hard negatives last.
- sigma is the mean squared distance to the k nearest, of each network on its own, without gradient.
- L_inner sees all tokens of the grid; the projection h is dropped after training.
- One token per image on a 1 x 1 grid makes L_local a graph of whole images.

Deviations: no code was found, and the source we read gives formulas without values. All values are ours; `by`, `width`,
`normalise`, `student_first`, `graph_temperature` and `inner_sampled` offer what it leaves open. Tokens are those of the
last map or block; the paper's are the penultimate stage's or block's, which `student_tap` and `teacher_tap` choose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
    affinity_error,
    collect,
    cross_entropy,
    info_nce,
    kl,
    linear,
    neighbour_kl,
    one_teacher,
    seeded,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive
from embodkd.core.terms.neighbours import nearest, squared_distances
from embodkd.core.weights.schedule import PositiveCurve
from embodkd.methods import METHODS
from embodkd.parts.networks.features import feature_shapes
from embodkd.parts.networks.patch_tokens import at_places, grid_tokens, random_places, token_width


@METHODS.register(
    "trg",
    domain="vision",
    needs="splits",
    family="relations",
    paper="arXiv:2306.12442",
    card="trg",
    title="Token-level relationship graph (TRG)",
)
@dataclass(frozen=True)
class TRG:
    """Weights as in the equation; temperature: T of the logits. contrast_temperature: tau, a number or schedule.

    grid: cells per side; sampled: R; neighbours: k. width: a fixed sigma (None: each network's own). by: neighbours of
    the "column" j, or of the "row" i. normalise: tokens to length 1 before distances. student_first: the order in the
    local KL. graph_temperature: of its softmaxes. inner_sampled: L_inner on the R tokens only. student_tap,
    teacher_tap: a layer that gives a map or tokens; None is the last one.
    """

    ce: NotNegative = 1.0
    kd: NotNegative = 1.0
    temperature: Positive = 4.0
    inner: NotNegative = 1.0
    local: NotNegative = 1.0
    contrast: NotNegative = 0.5
    contrast_temperature: PositiveCurve = linear(0.5, 0.07)
    grid: Count = 4
    sampled: Count = 4
    neighbours: Count = 8
    width: Positive | None = None
    by: Literal["column", "row"] = "column"
    normalise: bool = False
    student_first: bool = True
    graph_temperature: Positive = 1.0
    inner_sampled: bool = False
    student_tap: str | None = None
    teacher_tap: str | None = None

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage against the frozen teacher."""
        teacher = one_teacher(teachers, "trg", data)
        own, wanted = Role(student, taps=_taps(self.student_tap)), Role(teacher, "frozen", taps=_taps(self.teacher_tap))
        narrow, wide = (token_width(_tokens(feature_shapes(r.model, data.train, r.taps))) for r in (own, wanted))
        with seeded(seed, 0):
            project = nn.Linear(narrow, wide)

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            s_NGD, t_NGD = (grid_tokens(_tokens(signals), self.grid) for signals in (s, t))
            s_NRD, t_NRD = (at_places(z, batch.place_NR) for z in (s_NGD, t_NGD))
            return {
                "ce": cross_entropy(s.logits_NC, batch.label_N),
                "kd": kl(s.logits_NC, t.logits_NC, temperature=self.temperature),
                "inner": affinity_error(s_NRD, t_NRD) if self.inner_sampled else affinity_error(s_NGD, t_NGD),
                "local": neighbour_kl(
                    s_NRD,
                    t_NRD,
                    neighbours=self.neighbours,
                    width=self.width,
                    by=self.by,
                    normalise=self.normalise,
                    student_first=self.student_first,
                    temperature=self.graph_temperature,
                ),
                "contrast": info_nce(project(s_NRD), t_NRD, temperature=batch.contrast_temperature_N),
            }

        player = Player(
            own,
            terms,
            given={"t": wanted},
            weights={name: getattr(self, name) for name in ("ce", "kd", "inner", "local", "contrast")},
            helpers={"projection": project},
            scheduled={"contrast_temperature": self.contrast_temperature},
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train, prepare=(random_places(self.grid, self.sampled),))

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """neighbour_agreement: on the test part in batches of 16 images, the mean overlap |both| / |either| of the k
        nearest tokens in the teacher and in the student; tail_accuracy: that of the rarer half of the classes."""
        teacher = one_teacher(teachers, "trg", data)
        roles = (
            Role(teacher, "frozen", taps=_taps(self.teacher_tap)),
            Role(student, "frozen", taps=_taps(self.student_tap)),
        )
        t, s = (collect(role, data.test) for role in roles)
        pairs = zip(self.neighbourhoods(t), self.neighbourhoods(s), strict=True)
        overlaps = [(a & b).sum(0) / (a | b).sum(0) for a, b in pairs]
        found = {"neighbour_agreement": float(torch.cat(overlaps).mean())}
        counts_C = torch.bincount(data.train.fields["label"], minlength=data.classes)
        rare_N = (counts_C < counts_C.double().median())[s.label_N]
        if rare_N.any():
            found["tail_accuracy"] = 100.0 * float((s.logits_NC.argmax(1) == s.label_N)[rare_N].double().mean())
        return found

    def neighbourhoods(self, signals: Signals) -> Iterator[Tensor]:
        """Who is near whom among the tokens of each 16 images, (M, M) bool, one batch after the other."""
        for tokens_NGD in grid_tokens(_tokens(signals), self.grid).split(16):
            yield nearest(squared_distances(tokens_NGD.flatten(0, 1)), self.neighbours)


def _taps(name: str | None) -> dict[str, str]:
    return {} if name is None else {"relation": name}


def _tokens(signals: Mapping[str, Any]) -> Any:
    """What the tokens are made of: the tapped layer, else the map, else a transformer's tokens."""
    for name in ("relation", "map", "tokens"):
        if name in signals:
            return signals[name]
    raise ValueError("method trg: needs a map or tokens; this model gives neither, tap a layer that does")
