"""KD^3 (Tang et al., ICCV 2023): a student from unlabelled images of the web, when the training data are gone.

Equations, F the networks' last maps, R = transfer(F_student), z_student = the teacher's classifier on R's average:
    features: mean over channels and pixels of a (R - F_teacher)^2,  a = sigmoid(|z_student - z_teacher|), detached
    contrast: NT-Xent at temperature 0.3 between embed(g(x)) and embed(g(x')), g the student's own pooled features
    loss     = features + contrast_weight * contrast
x' is x with its channels' mean and spread mixed with another image's, by shares from Beta(0.1, 0.1). Before each epoch
e = 1, 2, ... the pool is searched anew, p = softmax(alpha_e z_teacher + (1 - alpha_e) z_student):
    keep the images whose largest p exceeds cutoff * b_c / (2 - b_c), b_c how often class c is answered, relatively
    alpha_e = 1 - exp(-blend_steepness ((e + 1) / (blend_centre E) - 1)^2) for e < blend_until E, then 0, E epochs

Details
- The product is the student's backbone, the transfer block and the teacher's own last layer, which stays; the student's
  own last layer is not used. x and x' are two batches for batch statistics. The search is made in evaluation mode.
- The distance in a adds 1e-6 to each component, as released. The teacher must answer by a linear layer on its map's
  average. If the student's map is larger it is averaged to the teacher's size, otherwise the teacher's is to its.
- `teacher_contrast` trains a second embedding only, which influences nothing: it is off.

Deviations: how many images are kept is not known in advance, so each epoch has as many updates as the whole pool would
give, in several passes over the kept ones; where none passes (untrained networks), all are kept. alpha's constants are
shares of the epochs (160 and 120 of 240 as released). The released code keeps the epoch that is best on the test set;
here the last one stays. match="logits" is KD on the pool (KL at `temperature`, the student's own last layer), a
baseline. Whether the paper also contrasts student with teacher is not known; the released code does not, `across` does.
The released pool transform (random resized crops, flips) is not this method's: the pool is seen as its data give it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pairwise_distance

from embodkd.core import (
    Answers,
    Budget,
    Player,
    Recipe,
    Role,
    Selected,
    Signals,
    Source,
    Splits,
    Teachers,
    Weight,
    adaptive_thresholds,
    collect,
    kl,
    nt_xent,
    one_teacher,
    seeded,
    squared_error,
)
from embodkd.core.config.ranges import NotNegative, Positive, Share, Width
from embodkd.core.terms.base import precise
from embodkd.methods import METHODS
from embodkd.parts.images.style import mix_styles
from embodkd.parts.networks.features import feature_shapes
from embodkd.parts.networks.reused_classifier import borrow, shrunk


@METHODS.register(
    "kd3",
    domain="vision",
    needs="splits",
    family="data-free",
    paper="arXiv:2307.11469",
    title="Distillation with webly collected images (KD^3)",
    card="kd3",
)
@dataclass(frozen=True)
class KD3:
    """Hyper-parameters, see above.

    pool: the part of the data to learn from. select: search it (False: all of it). weigh: the factor a (False: 1).
    embed: width of the embeddings; factor: by how much the transfer block narrows; concentration: of the Beta.
    """

    pool: str = "pool"
    select: bool = True
    cutoff: Share = 0.95
    blend_steepness: Positive = 5.0
    blend_centre: Positive = 2 / 3
    blend_until: NotNegative = 0.5
    match: Literal["features", "logits"] = "features"
    temperature: Positive = 4.0
    weigh: bool = True
    factor: Width = 2
    contrast_weight: NotNegative = 0.001
    contrast_temperature: Positive = 0.3
    teacher_contrast: bool = False
    across: bool = False
    embed: Width = 128
    concentration: Positive = 0.1

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage, a round per epoch."""
        teacher, pool = one_teacher(teachers, "kd3", data), data.part(self.pool)
        widths = [feature_shapes(model, pool, {})["embedding"][0] for model in (student, teacher)]
        product = student
        with seeded(seed, 1):
            if self.match == "features":
                product = borrow(student, teacher, pool, factor=self.factor)
            embed_s, embed_t = (nn.Linear(width, self.embed) for width in widths)
        contrasted = self.contrast_weight > 0

        def embedded(head: nn.Linear, signals: Signals) -> Tensor:
            return head(precise(signals["own" if "own" in signals else "embedding"]))

        def contrast(one_ND: Tensor, other_ND: Tensor) -> Tensor:
            return nt_xent(one_ND, other_ND, temperature=self.contrast_temperature, detach_target=False)

        def terms(batch: Signals, s: Signals, t: Signals, **mixed: Signals) -> dict[str, Tensor]:
            if self.match == "features":
                found = {"features": squared_error(s.map_NDHW, shrunk(t.map_NDHW, s.map_NDHW.shape[-2:]))}
            else:
                found = {"kd": kl(s.logits_NC, t.logits_NC, temperature=self.temperature)}
            if contrasted:
                found["contrast"] = contrast(embedded(embed_s, s), embedded(embed_s, mixed["s_mixed"]))
            if contrasted and self.teacher_contrast:
                found["teacher_contrast"] = contrast(embedded(embed_t, t), embedded(embed_t, mixed["t_mixed"]))
            if contrasted and self.across:
                found["across"] = contrast(embedded(embed_s, s), embedded(embed_t, t))
            return found

        given: dict[str, Answers] = {"t": Role(teacher, "frozen")}
        weights: dict[str, float | Weight] = {}
        if self.match == "features" and self.weigh:
            weights["features"] = disagreement
        if contrasted:
            given["s_mixed"] = Role(product, view="mixed")
            weights["contrast"] = self.contrast_weight
        if contrasted and self.teacher_contrast:
            given["t_mixed"] = Role(teacher, "frozen", view="mixed")
            weights["teacher_contrast"] = self.contrast_weight
        if contrasted and self.across:
            weights["across"] = self.contrast_weight
        heads = {"embed_s": embed_s, "embed_t": embed_t} if contrasted else {}
        player = Player(Role(product), terms, given, weights, heads, budget.optimiser)
        source = self._searched(pool, product, teacher, budget.epochs) if self.select else pool
        prepare = (mix_styles(self.concentration),) if contrasted else ()
        length = {"rounds": budget.epochs, "epochs": 1, "updates_per_round": updates_per_epoch(pool, budget)}
        return budget.fit(player, source, prepare=prepare, **length)

    def blend(self, epoch: int, epochs: int) -> float:
        """The teacher's share alpha in the search before `epoch` = 1, 2, ... of `epochs`."""
        if epoch >= self.blend_until * epochs:
            return 0.0
        return 1.0 - math.exp(-self.blend_steepness * ((epoch + 1) / (self.blend_centre * epochs) - 1.0) ** 2)

    def kept(self, s_NC: Tensor, t_NC: Tensor, alpha: float) -> np.ndarray:
        """Places of the images that are kept, from both networks' logits."""
        best = (alpha * t_NC + (1.0 - alpha) * s_NC).softmax(1).max(1)
        confidence_N, answer_N = best.values.numpy(), best.indices.numpy()
        threshold_N = adaptive_thresholds(answer_N, s_NC.shape[1], self.cutoff)[answer_N]
        # Not "above": logits that are not numbers are kept, for the loss to name what went wrong.
        return np.flatnonzero(~(confidence_N <= threshold_N))

    def _searched(self, pool: Source, product: nn.Module, teacher: nn.Module, epochs: int) -> Source:
        def choose(refill: int) -> np.ndarray:
            device = next(product.parameters()).device
            s, t = (collect(Role(m, "frozen"), pool, device=device, epoch=refill) for m in (product, teacher))
            kept = self.kept(s.logits_NC.float(), t.logits_NC.float(), self.blend(refill + 1, epochs))
            return kept if len(kept) else np.arange(pool.size())

        return Selected(pool, choose)

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """Of a pool whose `origin` is known: percent kept by the first and (`_alone`) last epochs' search; of these and
        of all, percent of origin 0.
        """
        pool, device = data.part(self.pool), next(student.parameters()).device
        if "origin" not in pool.fields:
            return {}
        both = (student, one_teacher(teachers, "kd3", data))
        s, t = (collect(Role(model, "frozen"), pool, device=device) for model in both)
        within_N = s["origin"].numpy() == 0
        found = {"base_rate": 100.0 * float(within_N.mean())}
        for suffix, alpha in (("", 1.0 - math.exp(-self.blend_steepness)), ("_alone", 0.0)):
            kept = self.kept(s.logits_NC.float(), t.logits_NC.float(), alpha)
            found[f"kept{suffix}"] = 100.0 * len(kept) / len(within_N)
            found[f"precision{suffix}"] = 100.0 * float(within_N[kept].mean()) if len(kept) else 0.0
        return found


def updates_per_epoch(pool: Source, budget: Budget) -> int:
    """As many as one pass over the whole pool has, or an equal part of the budget's updates."""
    if budget.updates is None:
        return -(-pool.size() // budget.batch_size)
    if budget.updates % budget.epochs:
        raise ValueError(f"method kd3: budget.updates={budget.updates} must be a multiple of epochs={budget.epochs}")
    return budget.updates // budget.epochs


def disagreement(batch: Signals, s: Signals, t: Signals, **others: Signals) -> Tensor:
    """The factor a per item: sigmoid of the distance between the two networks' logits, in [1/2, 1), detached."""
    return torch.sigmoid(pairwise_distance(precise(s.logits_NC), precise(t.logits_NC))).detach()
