"""TGeo-KD (Hu et al., ICLR 2024): how much to trust the teacher, learned per sample from its geometry.

Equation (its bilevel problem):
    inner  J(theta; omega) = mean_n alpha_n tau^2 KL(T_n(tau) || S_n(tau)) + (1 - alpha_n) CE(S_n, y_n),
           alpha_n = f_omega(state_n)
    outer  min over omega of the mean CE of the student theta*(omega) on validation data.

Details
- State: probabilities at temperature 1 of the student (S, no gradient), the teacher (T), the label (G, one-hot) and
  the teacher's mean over the class of the label (M), and the squares of their differences.
- The class means are taken once over the training set, grouped by the true labels.
- The controller steps first, on the student's virtual step; then the student, with the new alpha.

Deviations
- theta* is one step of plain gradient descent at `unroll_rate`; how the paper solves the inner problem is not known.
- `learning="frozen"` is what the authors' first script comes to (no gradient reaches the controller), "joint" their
  CIFAR branch (one loss trains both, gradient through S), with a weight per sample where theirs is the batch's mean.
- The exact relation vector is not certain; `state` has the variants. No early stopping: all arms get one budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from embodkd.core import (
    Budget,
    Context,
    Optimiser,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Table,
    Teachers,
    Unroll,
    class_means,
    collect,
    cross_entropy,
    kl,
    one_teacher,
    seeded,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive, Share, Width
from embodkd.core.terms.base import precise
from embodkd.methods import METHODS

State = Literal["full", "intra", "probabilities", "distances", "products", "branch", "norms"]

# Features of (S, T, G, M), each (N, C). "norms": the squared lengths of the six edges, for many classes.
STATES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor], list[Tensor]]] = {
    "full": lambda s, t, g, m: [s, t, g, m, *_squares(m - s, g - s, t - s, t - g, m - g)],
    "intra": lambda s, t, g, m: [s, t, g, *_squares(g - s, t - s, t - g)],
    "probabilities": lambda s, t, g, m: [s, t, g, m],
    "distances": lambda s, t, g, m: _squares(m - s, g - s, t - s),
    "products": lambda s, t, g, m: [s, t, g, m, (m - s) * (g - s), (t - s) * (g - s)],
    "branch": lambda s, t, g, m: [
        *(s, t, m, g, (s - g).abs(), (s - t).abs(), (s - m).abs()),
        *((g - m) * (g - s), (g - t) * (g - s)),
    ],
    "norms": lambda s, t, g, m: [
        edge.sum(1, keepdim=True) for edge in _squares(m - s, g - s, t - s, t - g, m - g, m - t)
    ],
}


def state(student_NC: Tensor, teacher_NC: Tensor, label_N: Tensor, mean_NC: Tensor, kind: State = "full") -> Tensor:
    """What the controller sees of each item, (N, features): a function of three distributions and the label."""
    label_NC = one_hot(label_N, student_NC.shape[1]).to(student_NC.dtype)
    return torch.cat(STATES[kind](student_NC, teacher_NC, label_NC, mean_NC), 1)


def _squares(*edges: Tensor) -> list[Tensor]:
    return [edge.square() for edge in edges]


@METHODS.register(
    "tgeo_kd",
    domain="vision",
    needs="splits",
    family="weights",
    paper="arXiv:2312.15112",
    title="Trilateral geometry (TGeo-KD)",
)
@dataclass(frozen=True)
class TGeoKD:
    """Hyper-parameters.

    temperature: tau. alpha: the same for all samples, or null: the controller gives it. state: what the controller
    sees, see STATES; widths: its hidden layers. learning: of the controller, see the module. every: it steps before
    each so-manyth step of the student; unroll_rate: of the virtual step; validation_batch: items of the outer loss.
    """

    temperature: Positive = 1.5
    alpha: Share | None = None
    state: State = "full"
    widths: tuple[Width, ...] = (32, 16)
    learning: Literal["unrolled", "joint", "frozen"] = "unrolled"
    controller_rate: NotNegative = 3e-3
    controller_decay: NotNegative = 0.0
    every: Count = 1
    unroll_rate: NotNegative = 0.1
    validation_batch: Count = 256

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """The class means, then one stage; with a controller, a last step says what it trusted."""
        t = Role(one_teacher(teachers, "tgeo_kd", data), "frozen")
        if self.alpha is not None:
            fixed = {"ce": 1.0 - self.alpha, "kd": self.alpha}
            player = Player(Role(student), self.terms, given={"t": t}, weights=fixed, optimiser=budget.optimiser)
            return budget.fit(player, data.train)

        def make(context: Context) -> dict[str, Tensor]:
            probs_NC = precise(collect(t, data.train, device=context.device).logits_NC).softmax(1)
            return {"probs": class_means(probs_NC, data.train.fields["label"], data.classes)}

        means = Table(make, name="class_means")
        with seeded(seed, 0x7E0):
            controller = self.controller(data.classes).requires_grad_(self.learning != "frozen")

        def alpha(batch: Signals, s: Signals, t: Signals, mean: Signals) -> Tensor:
            s_NC = s.logits_NC if self.learning == "joint" else s.logits_NC.detach()
            s_NC, t_NC = precise(s_NC).softmax(1), precise(t.logits_NC).softmax(1)
            return controller(state(s_NC, t_NC, batch.label_N, mean.probs_NC, self.state)).squeeze(1)

        inner = Player(
            Role(student),
            self.terms,
            given={"t": t, "mean": means},
            weights={"ce": lambda batch, s, **given: 1.0 - alpha(batch, s, **given), "kd": alpha},
            helpers={} if self.learning == "unrolled" else {"controller": controller},
            optimiser=budget.optimiser,
        )
        outer = [self.outer(controller, inner, data, seed)] if self.learning == "unrolled" else []

        @torch.no_grad()
        def trust(context: Context) -> dict[str, float]:
            s, answer = (collect(role, data.train, device=context.device) for role in (Role(student, "frozen"), t))
            batch, s = answer.to(context.device), s.to(context.device)
            alpha_N = alpha(batch, s, batch, means.signals(batch)).cpu()
            right_N = answer.logits_NC.argmax(1) == answer.label_N
            groups = {"alpha": alpha_N, "alpha_right": alpha_N[right_N], "alpha_wrong": alpha_N[~right_N]}
            return {name: float(group.mean()) for name, group in groups.items() if len(group)}

        return Recipe((means, budget.stage([*outer, inner], data.train, in_turn=True), trust), student)

    def terms(self, batch: Signals, s: Signals, t: Signals, mean: Signals | None = None) -> dict[str, Tensor]:
        """The label's and the teacher's loss."""
        soft_N = kl(s.logits_NC, t.logits_NC, temperature=self.temperature)
        return {"ce": cross_entropy(s.logits_NC, batch.label_N), "kd": soft_N}

    def controller(self, classes: int) -> nn.Module:
        """features -> ... -> alpha in (0, 1), (N, 1)."""
        probe_1C = torch.zeros(1, classes)
        features = state(probe_1C, probe_1C, torch.zeros(1, dtype=torch.int64), probe_1C, self.state).shape[1]
        widths = (features, *self.widths)
        hidden = [m for a, b in zip(widths, self.widths, strict=False) for m in (nn.Linear(a, b), nn.LeakyReLU())]
        return nn.Sequential(*hidden, nn.Linear(widths[-1], 1), nn.Sigmoid())

    def outer(self, controller: nn.Module, inner: Player, data: Splits, seed: int) -> Player:
        """The controller, judged by what the student's next step does to validation data."""

        def judge(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

        return Player(
            Role(controller),
            judge,
            through=Unroll(inner, data.validation, rate=self.unroll_rate, batch_size=self.validation_batch, seed=seed),
            every=self.every,
            optimiser=Optimiser("adam", self.controller_rate, weight_decay=self.controller_decay),
            name="controller",
        )
