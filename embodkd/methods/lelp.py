"""LELP, linear projections of teacher embeddings (Loo et al. 2024): few classes become many subclasses to learn from.

Equation, for class c with mean mu_c, S orthonormal directions V_c and h the teacher's embedding:
    r_c(x) = softmax(Q_c V_c P (h - mu_c) / (sigma_c * beta)),    t_{c,j}(x) = p_c(x) * r_{c,j}(x),
    loss = (1 - alpha) * CE(t, softmax over all S * C student outputs) + alpha * CE(label, the classes' sums),
with p the teacher's softmax at `temperature`, P the projector on what the teacher's last layer does not read, V_c the
principal directions of P (h - mu_c) over class c, Q_c a random rotation and sigma_c the scores' standard deviation.

Details
- P comes first: variation that the last layer reads is already in the logits. Without such a space P is the identity.
- The rotation gives all directions the same expected variance, so that no subclass gets all items. It is drawn once.
- Samples of every class are centred by mu_c for the scores of class c.
- The student has S outputs per class; its product sums them, so it answers with one logit per class as before.
- One subclass is plain distillation with the student at temperature 1.

Deviations: no code was found. Where sigma_c, beta and the temperature enter is our reconstruction, and so are all
values; `rotation`, `standardise` and `group_by` offer the alternatives. "random", "random_directions" and "oracle" are
the ablations.
"""

from __future__ import annotations

from collections.abc import Callable
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
    Signals,
    Splits,
    Table,
    Teachers,
    collect,
    cross_entropy,
    one_teacher,
    soft_cross_entropy,
    submodule,
)
from embodkd.core.config.ranges import Count, Positive, Share
from embodkd.methods import METHODS
from embodkd.parts.classes.directions import null_projector, principal_directions, random_directions, random_rotation
from embodkd.parts.classes.subclasses import (
    along_directions,
    as_known,
    at_random,
    known_places,
    refined_target,
    shared_information,
)
from embodkd.parts.networks.subclass_head import SubclassHead, expand_classifier


@METHODS.register(
    "lelp",
    domain="vision",
    needs="splits",
    family="logits",
    paper="arXiv:2409.20449",
    card="lelp",
    title="Linear projections of teacher embeddings (LELP)",
)
@dataclass(frozen=True)
class LELP:
    """subclasses: S per class; beta: temperature of the subclasses; temperature: of the teacher's classes.

    alpha: the labels' share of the loss. split: "pca" is the method; "random_directions" takes any directions, "random"
    any subclass per sample, "oracle" the data's own field `subclass`. null_space: whether P is used. rotation: Q_c of
    each class, one for all, or none. standardise: whether scores are divided by sigma_c. group_by: whose classes the
    directions belong to, those of the labels or the teacher's answers.
    """

    subclasses: Count = 5
    beta: Positive = 0.3
    temperature: Positive = 1.0
    alpha: Share = 0.0
    split: Literal["pca", "random_directions", "random", "oracle"] = "pca"
    null_space: bool = True
    rotation: Literal["per_class", "shared", "none"] = "per_class"
    standardise: bool = True
    group_by: Literal["label", "teacher"] = "label"

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """The teacher's directions, then one stage of soft-label training with the expanded last layer."""
        teacher = one_teacher(teachers, "lelp", data)
        expanded = expand_classifier(student, self.subclasses, seed, 0)
        steps, within = self.within(teacher, data, seed)

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            target_NK = refined_target(t.logits_NC, within(batch, t), temperature=self.temperature)
            return {
                "lelp": soft_cross_entropy(s.expanded_NK, target_NK),
                "ce": cross_entropy(s.logits_NC, batch.label_N),
            }

        player = Player(
            Role(student, taps={"expanded": expanded}),
            terms,
            given={"t": Role(teacher, "frozen")},
            weights={"lelp": 1.0 - self.alpha, "ce": self.alpha},
            optimiser=budget.optimiser,
        )
        return Recipe((*steps, budget.stage(player, data.train)), student)

    def within(
        self, teacher: nn.Module, data: Splits, seed: int
    ) -> tuple[tuple[Table, ...], Callable[[Signals, Signals], Tensor]]:
        """(the steps that must come first, a function (batch, teacher's signals) -> r (N, C, S))."""
        shape = (data.classes, self.subclasses)
        if self.split == "random":
            return (), lambda batch, t: at_random(batch.sample_id_N, *shape, seed)
        if self.split == "oracle":
            place_K = known_places(data, self.subclasses, "lelp.subclasses")
            return (), lambda batch, t: as_known(
                place_K.to(batch.label.device)[batch.subclass_N], batch.label_N, *shape
            )
        table = Table(lambda context: self.directions(teacher, data, seed, context), name="subclasses")
        return (table,), lambda batch, t: along_directions(
            t.embedding_ND, table["direction"], table["offset"], self.beta
        )

    def directions(self, teacher: nn.Module, data: Splits, seed: int, context: Context) -> dict[str, Tensor]:
        """`direction` (C, S, D) = Q_c V_c P / sigma_c and `offset` (C, S), its product with mu_c."""
        t = collect(Role(teacher, "frozen"), data.train, device=context.device)
        group_N = t.label_N if self.group_by == "label" else t.logits_NC.argmax(1)
        project_DD = torch.eye(t.embedding.shape[1], dtype=torch.float64)
        if self.null_space:
            project_DD = null_projector(last_weight(teacher).cpu())
        directions, offsets = [], []
        for c in range(data.classes):
            rows_ND = t.embedding_ND[group_N == c].double()
            mean_D = rows_ND.mean(0)
            rows_ND = (rows_ND - mean_D) @ project_DD
            if self.split == "random_directions":
                direction_SD = random_directions(self.subclasses, project_DD, seed, 1, c)
            else:
                direction_SD = principal_directions(rows_ND, self.subclasses, f"lelp.subclasses, class {c}")
            if self.rotation != "none":
                which = c if self.rotation == "per_class" else 0
                direction_SD = random_rotation(self.subclasses, seed, 2, which) @ direction_SD
            if self.standardise:
                direction_SD = direction_SD / (rows_ND @ direction_SD.T).std(correction=0)
            directions.append(direction_SD)
            offsets.append(direction_SD @ mean_D)
        found = {"direction": torch.stack(directions), "offset": torch.stack(offsets)}
        return {name: value.to(context.device, torch.get_default_dtype()) for name, value in found.items()}

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """Normalised mutual information, within a class, of subclasses and the data's own field `subclass`, on the test
        part: of the targets (target_nmi), of a random split (random_nmi), and of a student with subclasses."""
        if "subclass" not in data.test.fields:
            return {}
        teacher = one_teacher(teachers, "lelp", data)
        t = collect(Role(teacher, "frozen"), data.test)
        steps, within = self.within(teacher, data, 0)
        for step in steps:
            step(Context(None, 0, torch.device("cpu")))
        shape = (data.classes, self.subclasses)
        found = {"target_nmi": within(t, t), "random_nmi": at_random(t.sample_id_N, *shape, 0)}
        head = submodule(student, "classifier")
        if isinstance(head, SubclassHead):
            s = collect(Role(student, "frozen", taps={"expanded": "classifier.expanded"}), data.test)
            found["student_nmi"] = s.expanded_NK.unflatten(1, (head.classes, head.subclasses))
        return {name: shared_information(value_NCS, t.subclass_N, t.label_N) for name, value_NCS in found.items()}


def last_weight(model: nn.Module) -> Tensor:
    """The weights (outputs, D) of a classifier's last layer."""
    weight = submodule(model, "classifier").weight
    assert isinstance(weight, Tensor)
    return weight.detach()
