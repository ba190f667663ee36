"""RKD (Park et al., CVPR 2019): share the teacher's distances and angles among items, not its outputs.

Equation (their eq. 5-10), psi_D(i, j) = |e_i - e_j| / mean distance, psi_A(i, j, k) = cos of the angle at i to j, k:
    loss = CE + distance * mean of l(psi_D student, psi_D teacher) + angle * mean of l(psi_A student, psi_A teacher)
with l the smooth L1 loss and e the embedding of each network, whatever its width.

Details
- Means run over all pairs and triples of a batch, the trivial ones (i = j, j = k) included, as in the released code.
- The defaults are those of the paper's classification experiments.

Deviations: none.
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
    angle_relation,
    collect,
    cross_entropy,
    distance_relation,
    one_teacher,
)
from embodkd.core.config.ranges import NotNegative
from embodkd.core.terms.base import unit
from embodkd.methods import METHODS
from embodkd.parts.networks.features import pooled


@METHODS.register(
    "rkd",
    domain="vision",
    needs="splits",
    family="relations",
    paper="arXiv:1904.05068",
    title="Relational knowledge distillation (RKD)",
)
@dataclass(frozen=True)
class RKD:
    """distance and angle weigh the two relations.

    student_tap, teacher_tap: the layer that is compared, pooled to one vector per item; null is the embedding before
    the classifier. normalise: bring the vectors to length 1 first, as for metric learning.
    """

    distance: NotNegative = 25.0
    angle: NotNegative = 50.0
    student_tap: str | None = None
    teacher_tap: str | None = None
    normalise: bool = False

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage against the frozen teacher."""

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            pair = [unit(pooled(z)) if self.normalise else pooled(z) for z in (s.embedding, t.embedding)]
            return {
                "ce": cross_entropy(s.logits_NC, batch.label_N),
                "distance": distance_relation(*pair),
                "angle": angle_relation(*pair),
            }

        player = Player(
            Role(student, taps=_tap(self.student_tap)),
            terms,
            given={"t": Role(one_teacher(teachers, "rkd"), "frozen", taps=_tap(self.teacher_tap))},
            weights={"distance": self.distance, "angle": self.angle},
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train)

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """distance_gap and angle_gap: the two losses on the first 64 items of the test part, unweighted."""
        roles = [(student, self.student_tap), (one_teacher(teachers, "rkd"), self.teacher_tap)]
        found = [collect(Role(model, "frozen", taps=_tap(tap)), data.test).embedding[:64] for model, tap in roles]
        pair = [unit(pooled(z)) if self.normalise else pooled(z) for z in found]
        gaps = {"distance_gap": distance_relation(*pair), "angle_gap": angle_relation(*pair)}
        return {name: float(values_N.mean()) for name, values_N in gaps.items()}


def _tap(module: str | None) -> dict[str, str]:
    # A tapped signal wins over the one of that name that the model gives.
    return {} if module is None else {"embedding": module}
