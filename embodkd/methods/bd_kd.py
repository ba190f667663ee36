"""BD-KD, balanced divergences (Amara et al. 2022): two networks learn together, the small one from both KLs.

Equation, with p^A, p^B softened by T and sg = stop gradient:
    student  CE(label, p^B) + T^2 * [v KL(sg p^A || p^B) + u KL(p^B || sg p^A)],
    teacher  CE(label, p^A) + T^2 * KL(sg p^B || p^A),
with (v, u) = (delta, 1) where H(p^A) > H(p^B), the student being the more certain one, and (1, delta) elsewhere.

Details
- All networks look at the same batch before any of them moves, each in training mode; each loss moves its own only.
- The teacher is online: by default an untrained network like the one given, which stays as it is.
- Several teachers are ordered by their number of parameters. The largest has the teacher's loss, averaged over all
  smaller ones; every other network has the student's, its bracket averaged over all larger ones.

Deviations: only the structure of the loss is published where we could read it. The weights' form, delta, T and T^2
are our reconstruction; `rule`, `sharpness` and `scale_by_t2` offer the alternatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    balanced_kl,
    cross_entropy,
    fresh_copy,
    kl,
    several_teachers,
)
from embodkd.core.config.ranges import NotNegative, Positive, Ratio
from embodkd.methods import METHODS


@METHODS.register(
    "bd_kd",
    domain="vision",
    needs="splits",
    family="logits",
    paper="arXiv:2212.12965",
    card="bd_kd",
    title="Balanced divergences in online distillation (BD-KD)",
)
@dataclass(frozen=True)
class BDKD:
    """delta: the larger weight, 1 ignores the entropies. rule, sharpness: see `terms.balanced.leaning`.

    forward, reverse: factors of the student's two KLs (1 and 0 is deep mutual learning's loss); teacher_kl: of the
    teacher's. fresh: start untrained networks like the given ones; false trains the given ones themselves, in place.
    """

    delta: Ratio = 2.0
    temperature: Positive = 3.0
    forward: NotNegative = 1.0
    reverse: NotNegative = 1.0
    teacher_kl: NotNegative = 1.0
    rule: Literal["spread", "flipped"] = "spread"
    sharpness: Positive | None = None
    scale_by_t2: bool = True
    fresh: bool = True

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage in which all networks play."""
        given = several_teachers(teachers, "bd_kd", data)
        largest_first = sorted(given, key=lambda name: -sum(p.numel() for p in given[name].parameters()))
        models = {name: fresh_copy(given[name], seed, k) if self.fresh else given[name] for k, name in enumerate(given)}
        roles = [Role(student), *(Role(models[name]) for name in reversed(largest_first))]
        players = []
        for k, (role, name) in enumerate(zip(roles, ["student", *reversed(largest_first)], strict=True)):
            top = k + 1 == len(roles)
            others = roles[:k] if top else roles[k + 1 :]
            terms = self.teacher_terms if top else self.student_terms
            weights = {"kl": self.teacher_kl} if top else {}
            seen = {f"other_{j}": other for j, other in enumerate(others)}
            players.append(Player(role, terms, given=seen, weights=weights, optimiser=budget.optimiser, name=name))
        return budget.fit(players, data.train)

    def student_terms(self, batch: Signals, s: Signals, **larger: Signals) -> dict[str, Tensor]:
        """Labels, and the balanced divergences to every larger network."""
        pairs = [
            balanced_kl(
                s.logits_NC,
                t.logits_NC,
                temperature=self.temperature,
                delta=self.delta,
                forward=self.forward,
                reverse=self.reverse,
                rule=self.rule,
                sharpness=self.sharpness,
                scale_by_t2=self.scale_by_t2,
            )
            for t in larger.values()
        ]
        return {"ce": cross_entropy(s.logits_NC, batch.label_N), "balanced": torch.stack(pairs).mean(0)}

    def teacher_terms(self, batch: Signals, s: Signals, **smaller: Signals) -> dict[str, Tensor]:
        """Labels, and how far every smaller network is."""
        scaled = self.scale_by_t2
        pairs = [
            kl(s.logits_NC, t.logits_NC, temperature=self.temperature, scale_by_t2=scaled) for t in smaller.values()
        ]
        return {"ce": cross_entropy(s.logits_NC, batch.label_N), "kl": torch.stack(pairs).mean(0)}
