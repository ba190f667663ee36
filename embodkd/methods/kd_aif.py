"""KD-AIF (arXiv:2501.02705): each sample weighs as much as it helps a small trusted validation set.

Equation: with h_n the influence of sample n (core/meta/influence.py) on the mean validation cross-entropy of a student
that was distilled without weights,
    loss = mean_n w_n KL(softmax(z_teacher / T) || softmax(z_student / T)),    w = transform(h) / mean(transform(h)).

Details
- Fit without weights, scores, back to the first weights, fit with weights; `rounds` repeats the last three.
- h > 0 is helpful and w rises with it, in every transform. Scores and weights are kept by sample id.
- Scores are computed in evaluation mode and double precision, by default for the last layer only, where the problem
  is convex, and of the loss that is minimised: a wrong answer of the teacher gets a negative score.

Deviations
- The authors' code uses cross-entropy on labels for the scores (`score_of="labels"`) and test images as validation
  set; its LiSSA path has the wrong sign. EK-FAC is replaced by the last layer, solved without approximation.
- Weights have mean 1, so that the learning rate keeps its meaning, and a batch divides by its own number of items.
- The paper's sigmoid, and how its iterative and teacher updates go, are not certain: see `transform`, `sharpness`,
  `rounds`, `update_teacher`. Its semi-supervised part is not offered.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Player,
    Recipe,
    Restart,
    Role,
    Signals,
    Splits,
    Stage,
    Step,
    Table,
    Teachers,
    collect,
    cross_entropy,
    kl,
    one_teacher,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive, Whole
from embodkd.core.meta.influence import Solve, Transform, as_losses, influence, sample_weights
from embodkd.core.meta.solvers import conjugate_gradient, dense, lissa
from embodkd.methods import METHODS


@METHODS.register(
    "kd_aif",
    domain="vision",
    needs="splits",
    family="weights",
    paper="arXiv:2501.02705",
    title="Adapted weights by influence (KD-AIF)",
)
@dataclass(frozen=True)
class KDAIF:
    """Hyper-parameters.

    temperature, scale_by_t2: of the divergence. rounds: of scoring and fitting anew; restart: from the first weights,
    or go on. transform, sharpness: see `influence.sample_weights`; flip: weigh by -h, to see what the sign is worth.
    score_of: whose influence, the distillation loss or cross-entropy on labels. layers: the parameters that h knows;
    solver, damping: of its linear system, scale, steps: of lissa. batch_size: items per pass of the scoring.
    update_teacher: a copy of the teacher goes on learning from the labels with the same weights, beside the student.
    """

    temperature: Positive = 7.0
    scale_by_t2: bool = False
    rounds: Whole = 1
    restart: bool = True
    transform: Transform = "sigmoid"
    sharpness: NotNegative = 2.0
    flip: bool = False
    score_of: Literal["distillation", "labels"] = "distillation"
    layers: Literal["last", "all"] = "last"
    solver: Literal["dense", "cg", "lissa"] = "dense"
    damping: NotNegative = 0.01
    scale: Positive = 25.0
    steps: Count = 5000
    batch_size: Count = 512
    update_teacher: bool = False

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """A plain fit, then `rounds` times: scores, (restart,) weighted fit."""
        t = Role(one_teacher(teachers, "kd_aif", data), "frozen")
        plain = Player(Role(student), self.terms, given={"t": t}, optimiser=budget.optimiser)
        stages: list[Stage | Step] = [budget.stage(plain, data.train, name="unweighted")]
        for k in range(self.rounds):
            table = Table(partial(self.scores, student, t, data), by="sample_id", name=f"influence_{k}")
            stages += [table, partial(self.facts, table, t, data), *([Restart(student)] if self.restart else [])]
            players = self.weighted(student, t, table, budget)
            stages.append(budget.stage(players, data.train, name=f"weighted_{k}"))
        return Recipe(tuple(stages), student)

    def terms(self, batch: Signals, s: Signals, t: Signals, w: Signals | None = None) -> dict[str, Tensor]:
        """The divergence from the teacher."""
        logits = (s.logits_NC, t.logits_NC)
        return {"kd": kl(*logits, temperature=self.temperature, scale_by_t2=self.scale_by_t2)}

    def weighted(self, student: nn.Module, t: Role, table: Table, budget: Budget) -> list[Player]:
        """The student with weights; with `update_teacher` a copy of the teacher that learns beside it."""

        def weight(batch: Signals, s: Signals, w: Signals, t: Signals | None = None) -> Tensor:
            return w.weight_N

        def labels(batch: Signals, s: Signals, w: Signals) -> dict[str, Tensor]:
            return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

        own = Role(copy.deepcopy(t.model).requires_grad_(), mode="eval") if self.update_teacher else t
        player = Player(
            Role(student),
            self.terms,
            given={"t": own, "w": table},
            weights={"kd": weight},
            optimiser=budget.optimiser,
        )
        if not self.update_teacher:
            return [player]
        given, by = {"w": table}, {"ce": weight}
        return [player, Player(own, labels, given=given, weights=by, optimiser=budget.optimiser, name="teacher")]

    def scores(self, student: nn.Module, t: Role, data: Splits, context: Context) -> dict[str, Tensor]:
        """`score` and `weight` of every training sample, in rows by sample id (NaN where there is no such sample)."""
        t.model.to(context.device)
        layer = "classifier" if self.layers == "last" else None
        losses = partial(as_losses, layer=layer, batch_size=self.batch_size, device=context.device)
        given, role = {"t": t} if self.score_of == "distillation" else {}, Role(student)
        at_P, train = losses(role, data.train, self.item_loss, given)
        _, validation = losses(role, data.validation, self.item_loss)
        score_N = influence(train, validation, at_P, self.solve())
        weight_N = sample_weights(-score_N if self.flip else score_N, self.transform, self.sharpness)
        ids_N = data.train.fields["sample_id"].to(score_N.device)
        none_K = score_N.new_full((int(ids_N.max()) + 1,), torch.nan, dtype=torch.get_default_dtype())
        named = {"score": score_N, "weight": weight_N}
        return {name: none_K.index_put((ids_N,), value_N.to(none_K)) for name, value_N in named.items()}

    def item_loss(self, batch: Signals, s: Signals, t: Signals | None = None) -> Tensor:
        """What the scores are about: the distillation loss where there is a teacher, else that on the labels."""
        return cross_entropy(s.logits_NC, batch.label_N) if t is None else self.terms(batch, s, t)["kd"]

    def solve(self) -> Solve:
        """The solver with its settings."""
        if self.solver == "lissa":
            return partial(lissa, damping=self.damping, scale=self.scale, steps=self.steps)
        return partial(dense if self.solver == "dense" else conjugate_gradient, damping=self.damping)

    def facts(self, table: Table, t: Role, data: Splits, context: Context) -> dict[str, float]:
        """How well the scores tell where the teacher agrees with the labels; nothing is learned from this."""
        from sklearn.metrics import roc_auc_score

        answer = collect(t, data.train, device=context.device)
        right_N = answer.logits_NC.argmax(1) == answer.label_N
        score_N, weight_N = (table[name].cpu()[answer.sample_id_N] for name in ("score", "weight"))
        found = {"weight_right": weight_N[right_N], "weight_wrong": weight_N[~right_N]}
        named = {name: float(values.mean()) for name, values in found.items() if len(values)}
        return named | ({"score_auroc": float(roc_auc_score(right_N, score_N))} if len(named) == 2 else {})
