"""TinyViT (Wu et al., ECCV 2022): pre-train on what a large teacher once said of many augmented images, then fine-tune.

Equation, of image i in pass e with the stored seed r, the K largest probabilities v of the teacher on the view
x = A(i, r) and their classes:
    t_c  = v_c for stored c, (1 - sum_k v_k) / (C - K) otherwise
    loss = - sum_c t_c log softmax(z_S(x))_c

Details
- Stage 0 asks the teacher once about each image in each of `passes` passes and keeps 4 K + 4 bytes an answer: r as
  int32, K classes as int16, K probabilities as float16. Stage 1 learns from these records and rebuilt views; the
  teacher is not run, labels are not read. A seed is a function of (seed, pass, sample id), whatever the order.
- Stage 2 is ordinary supervised learning of the labelled part, with a rate that falls towards the stem and batch
  statistics kept. The classes' head is new, or rows of the pre-trained one (`remap`, -1 answers 0).
- Float16 may leave a stored sum above 1; then the rest is 0 and the sum is divided out.

Deviations
- RandAugment's further operations are left out: crop, flip, colour and erasing are drawn.
- An item brings its partner for mixing, so that batches may be odd; the pool may not.
- The third stage, fine-tuning at a larger resolution, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor, nn

from embodkd.core import (
    Bank,
    Budget,
    Context,
    Player,
    Recipe,
    Role,
    Seeded,
    Signals,
    Splits,
    Stage,
    Step,
    Teachers,
    cross_entropy,
    one_teacher,
    seeded,
    soft_cross_entropy,
    sparse_cross_entropy,
)
from embodkd.core.config.ranges import LARGEST, Count, NotNegative, Part, Share, Some, Whole, Within
from embodkd.core.terms.base import precise
from embodkd.core.weights.schedule import WeightCurve
from embodkd.methods import METHODS
from embodkd.parts.images.augment import shifts
from embodkd.parts.images.keyed import SEED, KeyedView, Paired
from embodkd.parts.networks.features import feature_shapes


@METHODS.register(
    "tinyvit",
    domain="vision",
    needs="splits",
    family="pre-training",
    paper="arXiv:2207.10666",
    title="Pre-training on stored sparse logits (TinyViT)",
)
@dataclass(frozen=True)
class SparsePretraining:
    """Hyper-parameters.

    pool: the part of the data that is pre-trained on. top_k: K, null stores all logits; passes: how many are stored,
    later ones start over; crop to cutmix: how images are augmented, see `KeyedView`. right_seed: false shows the
    student other views than the teacher saw. folder: keep the records there for other runs. check: share of the records
    that the teacher is asked for again. share: of the budget that pre-training has. layer_decay, tuning_rate (null: the
    budget's), label_smoothing, shift (pixels), frozen_statistics: of fine-tuning. remap: each class's place among the
    teacher's, -1 for none; null begins with a new head.
    """

    pool: str = "pool"
    top_k: Count | None = 10
    passes: Count = 8
    crop: Some = 0.35
    flip: Share = 0.5
    colour: Part = 0.4
    erase: Share = 0.25
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    right_seed: bool = True
    folder: str | None = None
    check: Share = 0.0
    share: Part = 0.75
    layer_decay: Some = 0.8
    tuning_rate: WeightCurve | None = None
    label_smoothing: Share = 0.0
    shift: Whole = 0
    frozen_statistics: bool = True
    remap: tuple[Annotated[int, Within(-1, LARGEST)], ...] | None = None

    @property
    def view(self) -> KeyedView:
        """What teacher and student see of an image of the pool."""
        return KeyedView(self.crop, self.flip, self.colour, self.erase, self.mixup, self.cutmix)

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """Store what the teacher says, pre-train on it, fine-tune on labels."""
        teacher = one_teacher(teachers, "tinyvit")
        bank = self.bank(teacher, data, seed)
        width = feature_shapes(student, data.train, {})["embedding"][0]
        classes = feature_shapes(teacher, data.train, {})["logits"][0]
        with seeded(seed, 1):
            head = nn.Linear(width, classes)
        first, second = budget.split(self.share)
        steps: list[Stage | Step] = [bank]
        if self.check:
            steps.append(_Checked(bank, self.check))
        seen = bank.as_seen(other_views=not self.right_seed)
        steps.append(first.stage(self.pre_training(student, head, bank, first), seen, name="pre-training"))
        if self.remap is not None:
            steps.append(_Remapped(head, student, self.remap, data.classes))
        prepare = (shifts(self.shift),) if self.shift else ()
        steps.append(second.stage(self.fine_tuning(student, second), data.train, prepare=prepare, name="fine-tuning"))
        return Recipe(tuple(steps), student)

    def bank(self, teacher: nn.Module, data: Splits, seed: int) -> Bank:
        """The records of the pool."""
        source = Seeded(data.part(self.pool), SEED, seed=seed)
        return Bank(
            Role(teacher, "frozen", view=self.view),
            Paired(source, seed=seed) if self.view.mixes else source,
            top_k=self.top_k,
            values="float32" if self.top_k is None else "float16",
            epochs=self.passes,
            replay=SEED,
            folder=self.folder,
        )

    def pre_training(self, student: nn.Module, head: nn.Linear, bank: Bank, budget: Budget) -> Player:
        """Who learns the teacher's classes, by a head of its own."""

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            logits_NC = head(precise(s.embedding_ND))
            if self.top_k is None:
                return {"soft": soft_cross_entropy(logits_NC, precise(t.logits_NC).softmax(1))}
            # the sum of the probabilities says how much is left, which half precision would round
            return {"sparse": sparse_cross_entropy(logits_NC, t.probs_NK.to(logits_NC.dtype), t.index_NK)}

        role = Role(student, view=self.view)
        return Player(role, terms, {"t": bank}, helpers={"head": head}, optimiser=budget.optimiser)

    def fine_tuning(self, student: nn.Module, budget: Budget) -> Player:
        """Who learns the labels."""

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"ce": cross_entropy(s.logits_NC, batch.label_N, smoothing=self.label_smoothing)}

        optimiser = replace(budget.optimiser, layer_decay=self.layer_decay)
        if self.tuning_rate is not None:
            optimiser = replace(optimiser, learning_rate=self.tuning_rate)
        return Player(Role(student, mode="eval" if self.frozen_statistics else "train"), terms, optimiser=optimiser)


class _Checked:
    """A step: whether the teacher says today what is stored."""

    def __init__(self, bank: Bank, share: float) -> None:
        self._bank, self._share = bank, share

    def __call__(self, context: Context) -> dict[str, float]:
        found = self._bank.verify(self._share, context.device)
        return {"store_difference": found.difference, "store_differing": found.differing}


class _Remapped:
    """A step: the student's head gets the rows of the pre-trained one that stand for its classes."""

    def __init__(self, head: nn.Linear, student: nn.Module, places: tuple[int, ...], classes: int) -> None:
        if len(places) != classes or max(places) >= head.out_features:
            raise ValueError(
                f"method tinyvit.remap: needs a place below {head.out_features}, or -1, for each of {classes} classes, "
                f"got {list(places)}"
            )
        self._head, self._student, self._place_C = head, student, torch.tensor(places)

    @torch.no_grad()
    def __call__(self, context: Context) -> None:
        known_C = (self._place_C >= 0).to(self._head.weight)
        place_C = self._place_C.clamp(min=0).to(self._head.weight.device)
        classifier = self._student.get_submodule("classifier")
        assert isinstance(classifier, nn.Linear)
        classifier.weight.copy_(self._head.weight[place_C] * known_C[:, None])
        classifier.bias.copy_(self._head.bias[place_C] * known_C)
