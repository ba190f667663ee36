"""DKD (Zhao et al., CVPR 2022): distillation taken apart into target and non-target classes, weighed freely.

Equation (their eq. 7):
    loss = CE + w * T^2 * (alpha * KL(b_teacher || b_student) + beta * KL(p^_teacher || p^_student))
b is the distribution over {label, not label}, p^ that over the other classes, both softened by T. Plain distillation
is alpha = 1 with the teacher's 1 - p_label, item by item, as beta: a sure teacher says little about the other classes.

Details: w climbs from 0 to 1 during the first `warmup_epochs`; the cross-entropy keeps weight 1.

Deviations: the released code raises w once per epoch, here it climbs with each update.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Player,
    Recipe,
    Role,
    Schedule,
    Signals,
    Splits,
    Teachers,
    collect,
    cross_entropy,
    decoupled_kl,
    one_teacher,
)
from embodkd.core.config.ranges import NotNegative, Positive, Whole
from embodkd.methods import METHODS


@METHODS.register(
    "dkd",
    domain="vision",
    needs="splits",
    family="logits",
    paper="arXiv:2203.08679",
    title="Decoupled knowledge distillation (DKD)",
)
@dataclass(frozen=True)
class DKD:
    """alpha weighs the target part, beta the non-target part, both softened by `temperature`.

    warmup_epochs: passes over the data during which their weight climbs to its full size.
    """

    alpha: NotNegative = 1.0
    beta: NotNegative = 8.0
    temperature: Positive = 4.0
    warmup_epochs: Whole = 20

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage against the frozen teacher."""

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            decoupled_N = decoupled_kl(
                s.logits_NC,
                t.logits_NC,
                batch.label_N,
                alpha=self.alpha,
                beta=self.beta,
                temperature=self.temperature,
            )
            return {"ce": cross_entropy(s.logits_NC, batch.label_N), "dkd": decoupled_N}

        updates_per_epoch = -(-data.train.size() // budget.batch_size)
        player = Player(
            Role(student),
            terms,
            given={"t": Role(one_teacher(teachers, "dkd", data), "frozen")},
            weights={"dkd": Schedule(warmup=self.warmup_epochs * updates_per_epoch)},
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train)

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """target_kl and nontarget_kl: the two divergences on the test part, at temperature 1, in nats."""
        t = collect(Role(one_teacher(teachers, "dkd", data), "frozen"), data.test)
        s = collect(Role(student, "frozen"), data.test)

        def mean(alpha: float, beta: float) -> float:
            pair = (s.logits_NC, t.logits_NC)
            return float(decoupled_kl(*pair, s.label_N, alpha=alpha, beta=beta, temperature=1.0).mean())

        return {"target_kl": mean(1.0, 0.0), "nontarget_kl": mean(0.0, 1.0)}
