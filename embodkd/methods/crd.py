"""CRD, contrastive representation distillation (Tian et al., ICLR 2020): find the teacher's feature of the same image.

Equation (their section 3.1), u_i = unit(g_S(student's embedding of item i)), v_j = unit(g_T(teacher's of item j)), g
linear and learned, N negatives j of other classes for each item:
    h_ij = e_ij / (e_ij + N Z),   e_ij = exp(u_i . v_j / tau),
    loss = CE(label, student) + weight * [-log h_ii - sum over j of log(1 - h_ij)] + kd * T^2 * KL(teacher || student).

Details
- Z is the mean of e over pairs of training items with the first weights, taken once, as in the released code; the paper
  has 1 / M there, with M the number of items.
- The teacher's embeddings of all training items are computed once; negatives are drawn anew for each item and update.
- g_S and g_T are dropped after training.

Deviations
- The released code remembers both networks' projected features of all items, moved by half at each visit, and also
  contrasts the teacher's feature with the student's of other items. Here the teacher's features of the negatives are
  exact and go through the present g_T, with gradient, and there is no second half.
- 256 negatives by default, where the paper has 16,384 of 50,000 items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from embodkd.core import (
    Budget,
    Context,
    Player,
    Prepare,
    Recipe,
    Role,
    Signals,
    Splits,
    Table,
    Teachers,
    collect,
    cross_entropy,
    drawn,
    kl,
    one_teacher,
    seeded,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive, Width
from embodkd.core.terms.base import precise, unit
from embodkd.core.transfer import sent
from embodkd.methods import METHODS
from embodkd.parts.networks.features import feature_shapes

SCALED = 1024


@METHODS.register(
    "crd",
    domain="vision",
    needs="splits",
    family="features",
    paper="arXiv:1910.10699",
    title="Contrastive representation distillation (CRD)",
)
@dataclass(frozen=True)
class CRD:
    """weight of the contrast; negatives per item; width of the projections; contrast_temperature: tau.

    kd: weight of the teacher's logits, softened by `temperature` (1 for the paper's CRD+KD).
    """

    weight: NotNegative = 0.8
    negatives: Count = 256
    width: Width = 128
    contrast_temperature: Positive = 0.07
    kd: NotNegative = 0.0
    temperature: Positive = 4.0

    def __post_init__(self) -> None:
        if self.negatives < 1 or self.width < 1 or self.contrast_temperature <= 0:
            raise ValueError(
                f"method crd: negatives ({self.negatives}) and width ({self.width}) must be at least 1, "
                f"contrast_temperature ({self.contrast_temperature}) above 0"
            )

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """The teacher's features and the scale Z, then one stage against the frozen teacher."""
        own, wanted = Role(student), Role(one_teacher(teachers, "crd", data if self.kd else None), "frozen")
        narrow, wide = (feature_shapes(role.model, data.train, {})["embedding"][0] for role in (own, wanted))
        with seeded(seed, 0xC2D):
            critic = Critic(narrow, wide, self.width, self.contrast_temperature)
        order_M = by_class(data)

        def make(context: Context) -> dict[str, Tensor]:
            t = collect(wanted, data.train, device=context.device)
            return {"embedding": precise(t.embedding_ND)[order_M].to(context.device)}

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            own_N, other_NK = critic(s.embedding_ND, t.embedding_ND, items["embedding"], batch.negative_NK)
            found = {"ce": cross_entropy(s.logits_NC, batch.label_N), "crd": contrast(own_N, other_NK)}
            if self.kd:
                found["kd"] = kl(s.logits_NC, t.logits_NC, temperature=self.temperature)
            return found

        items = Table(make, name="teacher_features")
        player = Player(
            own,
            terms,
            given={"t": wanted},
            weights={"crd": self.weight, **({"kd": self.kd} if self.kd else {})},
            helpers={"critic": critic},
            optimiser=budget.optimiser,
        )
        stage = budget.stage(player, data.train, prepare=(other_classes(data, self.negatives),))
        return Recipe((items, partial(scale, student, items, critic, data, self.negatives), stage), student)

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """On the test part: cka, how alike the two networks' embeddings are up to a turn and a scale, in [0, 1]."""
        roles = (Role(student, "frozen"), Role(one_teacher(teachers, "crd"), "frozen"))
        return {"cka": cka(*(collect(role, data.test).embedding_ND for role in roles))}


class Critic(nn.Module):
    """Both projections, and log(N Z): how surely two features are of one item, as logits."""

    offset: Tensor

    def __init__(self, student: int, teacher: int, width: int, temperature: float) -> None:
        super().__init__()
        self.student, self.teacher, self.temperature = nn.Linear(student, width), nn.Linear(teacher, width), temperature
        self.register_buffer("offset", torch.tensor(0.0))

    def forward(self, own_ND: Tensor, same_NE: Tensor, all_ME: Tensor, other_NK: Tensor) -> tuple[Tensor, Tensor]:
        """log h / (1 - h) of each item with the teacher's feature of itself, (N,), and of the rows `other`, (N, K)."""
        u_NW, v_NW, v_MW = self.student_side(own_ND), self.teacher_side(same_NE), self.teacher_side(all_ME)
        score_NK = (u_NW @ v_MW.T).gather(1, other_NK)
        return (u_NW * v_NW).sum(1) / self.temperature - self.offset, score_NK / self.temperature - self.offset

    def student_side(self, own_ND: Tensor) -> Tensor:
        """g_S, of length 1."""
        return unit(precise(self.student(own_ND.to(self.student.weight))))

    def teacher_side(self, same_NE: Tensor) -> Tensor:
        """g_T, of length 1."""
        return unit(precise(self.teacher(same_NE.to(self.teacher.weight))))


def contrast(own_N: Tensor, other_NK: Tensor) -> Tensor:
    """-log h of the own one - sum of log(1 - h) of the others, (N,), from the logits of h."""
    return softplus(-own_N) + softplus(other_NK).sum(1)


def by_class(data: Splits) -> Tensor:
    """Places of the training items, (M,), sorted by class and then by sample id."""
    fields = data.train.fields
    order_M = fields["sample_id"].argsort()
    return order_M[fields["label"][order_M].argsort(stable=True)]


def other_classes(data: Splits, count: int) -> Prepare:
    """The field `negative` (N, count): rows of `by_class` of other classes than an item's, drawn anew."""
    size_C = torch.bincount(data.train.fields["label"], minlength=data.classes)
    first_C, total = size_C.cumsum(0) - size_C, int(size_C.sum())
    if int(size_C.max()) == total:
        raise ValueError("method crd: all training items are of one class, so that there are no negatives")

    def prepare(batch: Signals) -> dict[str, Tensor]:
        own_N = batch.label_N
        size_N1, first_N1 = (sent(each_C, own_N.device)[own_N, None] for each_C in (size_C, first_C))
        draw_NK = sent(drawn(len(own_N), lambda items: torch.rand(items, count, dtype=torch.float64)), own_N.device)
        row_NK = (draw_NK * (total - size_N1)).long()
        return {"negative": row_NK + size_N1 * (row_NK >= first_N1)}

    return prepare


def scale(
    student: nn.Module, items: Table, critic: Critic, data: Splits, negatives: int, context: Context
) -> dict[str, float]:
    """Set the critic's log(N Z), from the first SCALED items of `by_class`, evenly spread, against all."""
    order_M = by_class(data)
    chosen_A = order_M[:: -(-len(order_M) // SCALED)]
    s = collect(Role(student, "frozen"), data.train, device=context.device)
    with torch.no_grad():
        u_AW = critic.student_side(s.embedding_ND[chosen_A])
        v_MW = critic.teacher_side(items["embedding"])
        score_AM = u_AW @ v_MW.T / critic.temperature
        critic.offset.copy_(torch.logsumexp(score_AM.flatten(), 0) - math.log(score_AM.numel()) + math.log(negatives))
    return {"crd/offset": float(critic.offset)}


def cka(a_ND: Tensor, b_NE: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019): |A^T B|^2 / (|A^T A| |B^T B|), columns centred."""
    a_ND, b_NE = (x.double() - x.double().mean(0) for x in (a_ND, b_NE))
    return float((a_ND.T @ b_NE).square().sum() / ((a_ND.T @ a_ND).norm() * (b_NE.T @ b_NE).norm()))
