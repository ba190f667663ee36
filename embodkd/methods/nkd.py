"""NKD (Yang et al., ICCV 2023): target-class cross-entropy plus a non-target part that both sides renormalise.

Equation (their eq. 7), t the label, T and S the softmaxes of teacher and student:
    loss = CE - target * T_t log S_t - gamma * temperature^2 * sum over i != t of T^_i log S^_i.
T^ and S^ are the softmaxes over the other classes' logits divided by `temperature`; T_t and S_t are at temperature 1.

Details
- Nothing reaches the teacher; the cross-entropy on the labels keeps weight 1.
- The non-target part is a cross-entropy, so its least value is the entropy of T^, not 0.
- Mixed items (`mixup`): the cross-entropy is that of the mixed labels; the label t is the larger one.

Deviations: none. `target` (1 in the paper) weighs the target part, for ablations.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    decoupled_kl,
    label_probability,
    nontarget_cross_entropy,
    one_teacher,
    soft_cross_entropy,
)
from embodkd.core.config.ranges import NotNegative, Positive
from embodkd.methods import METHODS
from embodkd.parts.images.mix import mixup


@METHODS.register(
    "nkd",
    domain="vision",
    needs="splits",
    family="logits",
    paper="arXiv:2303.13005",
    card="nkd_uskd",
    title="Normalised knowledge distillation (NKD)",
)
@dataclass(frozen=True)
class NKD:
    """gamma weighs the non-target part, softened by `temperature`; target weighs the target part.

    mixup: concentration of the mixing weights' Beta distribution; 0 mixes nothing.
    """

    gamma: NotNegative = 1.5
    temperature: Positive = 1.0
    target: NotNegative = 1.0
    mixup: NotNegative = 0.0

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage against the frozen teacher."""

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            mixed = "score" in batch
            label_N = batch.score_NC.argmax(-1) if mixed else batch.label_N
            label_ce_N = cross_entropy(s.logits_NC, label_N)
            return {
                "ce": soft_cross_entropy(s.logits_NC, batch.score_NC) if mixed else label_ce_N,
                "target": label_probability(t.logits_NC, label_N).detach() * label_ce_N,
                "nontarget": nontarget_cross_entropy(s.logits_NC, t.logits_NC, label_N, temperature=self.temperature),
            }

        player = Player(
            Role(student),
            terms,
            given={"t": Role(one_teacher(teachers, "nkd", data), "frozen")},
            weights={"target": self.target, "nontarget": self.gamma},
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train, prepare=(mixup(self.mixup, data.classes),) if self.mixup else ())

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """nontarget_kl: KL of teacher and student over all classes but the label, on the test part, in nats."""
        t = collect(Role(one_teacher(teachers, "nkd", data), "frozen"), data.test)
        s = collect(Role(student, "frozen"), data.test)
        apart_N = decoupled_kl(s.logits_NC, t.logits_NC, s.label_N, alpha=0.0, beta=1.0, temperature=1.0)
        return {"nontarget_kl": float(apart_N.mean())}
