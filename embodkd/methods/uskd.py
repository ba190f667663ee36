"""USKD (Yang et al., ICCV 2023): NKD's two kinds of soft label, fabricated by the student for itself.

Equation (their section 3.3), t the label, S the student's softmax, w that of a linear head on an inner feature f:
    loss = CE - alpha * P_t log S_t - beta * sum over i != t of Z_i log S^_i + mu * CE_smoothed(w)
    P_t = S_t^2 + V_t - batch mean of S_t^2          (V: 1, or the mixed label's share)
    Z   = the Zipf values 1/k in the order of R_i = w_i / (1 - w_t) + S_i / (1 - S_t), without t, summing to 1.
S^ is the softmax over the other classes. P and Z carry no gradient; the head's own loss reaches f and the student.

Details
- The label takes part in the order before it is dropped, so its place stays empty.
- Mixed items (`mixup`) have two labels: both are dropped, and the denominators hold the sum over both.
- The batch mean makes an item's value depend on its batch: pieces of one batch are not the same as the whole.

Deviations: the released code ranks by log S where the paper has S; both are here (`rank_on`). A mixed item whose mix
left one label only counts as having one, where the released sort picks a second by its way of breaking ties.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from embodkd.core import Budget, Player, Recipe, Role, Signals, Splits, Teachers, cross_entropy, soft_cross_entropy
from embodkd.core.config.ranges import NotNegative, Share
from embodkd.core.terms.base import precise
from embodkd.core.terms.nontarget import others
from embodkd.core.terms.self_label import RankOn, own_classes, rank_scores, target_label, zipf_label
from embodkd.methods import METHODS
from embodkd.parts.images.mix import mixup
from embodkd.parts.networks.features import feature_shapes, pooled, pooled_width


@METHODS.register(
    "uskd",
    domain="vision",
    needs="splits",
    family="self-distillation",
    paper="arXiv:2303.13005",
    card="nkd_uskd",
    title="Universal self-knowledge distillation (USKD)",
)
@dataclass(frozen=True)
class USKD:
    """alpha, beta, mu weigh the target part, the non-target part and the weak head; the defaults are CIFAR-100's.

    tap: the layer that the weak head reads (pooled to one vector per item). smoothing: of the head's labels.
    rank_on: "prob" as in the paper, "log_prob" as in the released code. mixup: see NKD; 0 mixes nothing.
    """

    alpha: NotNegative = 0.1
    beta: NotNegative = 0.1
    mu: NotNegative = 0.1
    tap: str = "layers.0"
    smoothing: Share = 0.1
    rank_on: RankOn = "prob"
    mixup: NotNegative = 0.0

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage; a teacher, if there is one, is not asked."""
        if self.mixup and data.classes < 3:
            raise ValueError("method uskd: a mixed item of 2 classes has no other class left; set mixup to 0")
        taps = {"inner": self.tap}
        width = pooled_width(feature_shapes(student, data.train, taps)["inner"])
        head = nn.Linear(width, data.classes)

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            hard = "score" not in batch
            score_NC = F.one_hot(batch.label_N, data.classes).to(precise(s.logits_NC)) if hard else batch.score_NC
            logits_NC, weak_NC = precise(s.logits_NC), head(pooled(s.inner))
            mine_NC = own_classes(score_NC)
            order_NC = rank_scores(weak_NC, logits_NC, mine_NC, self.rank_on)
            smooth_NC = (1.0 - self.smoothing) * score_NC + self.smoothing / data.classes
            return {
                "ce": cross_entropy(s.logits_NC, batch.label_N) if hard else soft_cross_entropy(logits_NC, score_NC),
                "target": soft_cross_entropy(logits_NC, target_label(logits_NC.softmax(-1), score_NC)),
                "nontarget": soft_cross_entropy(others(logits_NC, mine_NC), zipf_label(order_NC, mine_NC)),
                "weak": soft_cross_entropy(weak_NC, smooth_NC),
            }

        player = Player(
            Role(student, taps=taps),
            terms,
            weights={"target": self.alpha, "nontarget": self.beta, "weak": self.mu},
            helpers={"weak_head": head},
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train, prepare=(mixup(self.mixup, data.classes),) if self.mixup else ())
