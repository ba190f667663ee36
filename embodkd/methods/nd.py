"""ND, norm and direction (Wang et al. 2023): KD++, DKD++ and DIST++ add one term on the last features to a KD loss.

Equation, with f^S, f^T the inputs of the last linear layers and e_y the unit vector of the teacher's mean feature of
the label's class:
    L_ND = mean over items of 1 - f^S . e_y / max(|f^S|, |f^T|),
    loss = ce_weight * CE + kd_weight * min(1, epoch / warmup_epochs) * L_KD + nd_weight * L_ND.

Details
- The class means are those of the true labels, over the training part, in evaluation mode, computed once.
- The student's side is never detached, its length in the maximum included; the teacher and the means always are.
- Epochs count from 0, so L_KD is off in the first one; L_ND is on from the start.
- Where the widths differ, a projector (batch norm, dropout, linear with zero bias) leads from the student's features
  to L_ND alone; the logits stay those of the raw features, and the projector is dropped.

Deviations: ReviewKD++ is not offered, its feature fusion is a method by itself; labels are hard (no mixup). The exact
form of the paper's two halves, `form` "direction" and "norm", is our reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Player,
    Recipe,
    Role,
    Schedule,
    Signals,
    Splits,
    Table,
    Teachers,
    class_means,
    collect,
    constant,
    correlation,
    cross_entropy,
    decoupled_kl,
    kl,
    norm_direction,
    one_teacher,
    seeded,
    squared_error,
    staircase,
)
from embodkd.core.config.ranges import NotNegative, Part, Positive, Whole
from embodkd.core.terms.base import precise, unit
from embodkd.methods import METHODS
from embodkd.parts.networks.features import feature_shapes


@METHODS.register(
    "nd",
    domain="vision",
    needs="splits",
    family="features",
    paper="arXiv:2305.17007",
    card="nd",
    title="Norm and direction of features (KD++, DKD++, DIST++)",
)
@dataclass(frozen=True)
class ND:
    """Weights as in the equation; temperature of L_KD, whose value is scaled by its square.

    kd: which L_KD. "dkd" has the parts dkd_alpha and dkd_beta, "dist" the parts 1 and 1.
    form: "joint" is the method; "direction" (1 - cosine) and "norm" (1 - |f^S| / max) are its halves, "mse" is plain
    feature matching. dropout: the projector's. projector_std: None keeps the linear layer's usual first weights, a
    number draws weights and bias from a normal distribution (the paper's ImageNet runs: 0.01).
    """

    ce_weight: NotNegative = 1.0
    kd_weight: NotNegative = 1.0
    nd_weight: NotNegative = 2.0
    kd: Literal["kd", "dkd", "dist"] = "kd"
    temperature: Positive = 4.0
    dkd_alpha: NotNegative = 1.0
    dkd_beta: NotNegative = 8.0
    warmup_epochs: Whole = 20
    form: Literal["joint", "direction", "norm", "mse"] = "joint"
    dropout: Part = 0.5
    projector_std: Positive | None = None

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """The class means, then one stage against the frozen teacher."""
        teacher = one_teacher(teachers, "nd", data)
        directions = class_directions(teacher, data)
        own, wanted = (feature_shapes(model, data.train, {})["embedding"][0] for model in (student, teacher))
        project = self.projector(own, wanted, seed)

        def terms(batch: Signals, s: Signals, t: Signals, mean: Signals) -> dict[str, Tensor]:
            feature_ND = project(precise(s.embedding_ND))
            if self.form == "mse":
                nd_N = squared_error(feature_ND, t.embedding_ND)
            else:
                nd_N = norm_direction(feature_ND, t.embedding_ND, mean.direction_ND, form=self.form)
            kd_N = self.distance(s.logits_NC, t.logits_NC, batch.label_N)
            return {"ce": cross_entropy(s.logits_NC, batch.label_N), "kd": kd_N, "nd": nd_N}

        per_epoch = -(-data.train.size() // budget.batch_size)
        player = Player(
            Role(student),
            terms,
            given={"t": Role(teacher, "frozen"), "mean": directions},
            weights={"ce": self.ce_weight, "kd": self.warmup(per_epoch), "nd": self.nd_weight},
            helpers={"projector": project},
            optimiser=budget.optimiser,
        )
        return Recipe((directions, budget.stage(player, data.train)), student)

    def distance(self, logits_NC: Tensor, target_logits_NC: Tensor, label_N: Tensor) -> Tensor:
        """L_KD, one value per item."""
        pair, temperature = (logits_NC, target_logits_NC), self.temperature
        if self.kd == "dkd":
            return decoupled_kl(*pair, label_N, alpha=self.dkd_alpha, beta=self.dkd_beta, temperature=temperature)
        return (correlation if self.kd == "dist" else kl)(*pair, temperature=temperature)

    def warmup(self, updates_per_epoch: int) -> Schedule:
        """The weight of L_KD over updates: a stair per epoch from 0 to `kd_weight`."""
        if self.warmup_epochs == 0:
            return constant(self.kd_weight)
        stairs = range(self.warmup_epochs + 1)
        values = (self.kd_weight * epoch / self.warmup_epochs for epoch in stairs)
        return staircase(*values, at=tuple(epoch * updates_per_epoch for epoch in stairs))

    def projector(self, student: int, teacher: int, seed: int) -> nn.Module:
        """From the student's width to the teacher's: nothing where they agree."""
        if student == teacher:
            return nn.Identity()
        with seeded(seed, 0):
            linear = nn.Linear(student, teacher)
            nn.init.zeros_(linear.bias)
            if self.projector_std is not None:
                for parameter in linear.parameters():
                    nn.init.normal_(parameter, std=self.projector_std)
        return nn.Sequential(nn.BatchNorm1d(student), nn.Dropout(self.dropout), linear)

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """On the test part: mean length of the features (norm), and their mean cosine to their class's mean of the
        teacher (cosine), where the widths agree."""
        teacher = one_teacher(teachers, "nd", data)
        s, t = (collect(Role(model, "frozen"), data.test) for model in (student, teacher))
        found = {"norm": float(torch.linalg.vector_norm(s.embedding_ND, dim=1).mean())}
        if s.embedding_ND.shape == t.embedding_ND.shape:
            directions = class_directions(teacher, data)
            directions(Context(None, 0, torch.device("cpu")))
            e_ND = directions.signals(s).direction_ND
            found["cosine"] = float((unit(s.embedding_ND) * e_ND).sum(1).mean())
        return found


def class_directions(teacher: nn.Module, data: Splits) -> Table:
    """The unit vector of the teacher's mean feature of each class, as `direction`."""

    def make(context: Context) -> dict[str, Tensor]:
        t = collect(Role(teacher, "frozen"), data.train, device=context.device)
        return {
            "direction": unit(class_means(t.embedding_ND.double(), t.label_N, data.classes)).to(
                torch.get_default_dtype()
            )
        }

    return Table(make, name="class_directions")
