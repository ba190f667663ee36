"""TinyCLIP (Wu et al., ICCV 2023): a small CLIP begins with its teacher's weights and learns whom it finds alike.

Equation (their section 3.1), softmaxes over the batch, kappa the same for both:
    A(image -> text) = softmax(kappa I T^T), A(text -> image) = softmax(kappa T I^T),
    loss = alpha * weight * 1/2 [CE(A_t, A_s) image -> text + CE(A_t, A_s) text -> image] + (1 - alpha) * CLIP loss.
Automatic mode adds linear * lack + square * lack^2, lack = max(target - share of the parameters gone, 0), with both
factors climbing on it.

Details (of the released code, microsoft/Cream)
- "manual": every layer of a smaller student begins as the teacher's layer 0, k, 2k, ... (k the ratio of their numbers,
  rounded down), the leading channels, heads and hidden units of it; `via` are networks between the two, each of which
  inherits from the one before and is taught by the same teacher. The budget is shared out evenly among them.
- "automatic": the student has the teacher's size at first. In each stage hard-concrete gates on channels, heads and
  hidden units are learned for `prune` of its updates, while the target grows over `sparsity_warmup` of these; then they
  are fused, and what is left learns on. A stage begins with what the former left in the leading places of the teacher's
  size, gates open there and shut elsewhere.
- kappa is a constant for both: the student's own scale is set to it and does not learn. null: each has its own, and the
  student's learns.

Deviations: the share gone counts all parameters that a gate can take out, biases and embeddings too. The price is one
pair of factors, where the code has a pair per tower and takes their mean. A loss that is not finite ends the run.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Every,
    Gated,
    Pairs,
    Player,
    Recipe,
    Role,
    Signals,
    Stage,
    Step,
    Teachers,
    affinity,
    one_teacher,
    pair_contrast,
)
from embodkd.core.config.ranges import NotNegative, OpenShare, Positive, Share
from embodkd.methods import METHODS
from embodkd.parts.networks.inheritance import Inherit
from embodkd.parts.networks.variants import variant
from embodkd.parts.players.parts import in_parts
from embodkd.parts.players.pruning import Fused, Opened, with_gates
from embodkd.parts.players.sparsity import Multipliers, Sparsity, climb

PROBED = 8
"""Items on which a fused network is held against the gated one."""


@METHODS.register(
    "tinyclip",
    domain="vision and language",
    needs="pairs",
    family="relations",
    paper="arXiv:2309.12314",
    title="TinyCLIP: affinity mimicking and weight inheritance",
)
@dataclass(frozen=True)
class TinyCLIP:
    """alpha: the affinity's share of the loss, the pairs themselves have the rest; weight: multiplies it once more.

    mode "scratch" inherits nothing. via: of a manual mode's networks in between, largest first, what of the student's
    arguments is other in each. sparsity: of an automatic mode, the share of the parameters that is gone after each of
    its stages; joint: of both towers together, otherwise of each. price, price_rate: the factors at the start of a
    stage, and the learning rate with which they climb; gate_rate: that of the gates.
    """

    mode: Literal["manual", "automatic", "scratch"] = "manual"
    alpha: Share = 1.0
    weight: NotNegative = 1.0
    kappa: Positive | None = 50.0
    via: tuple[Mapping[str, Any], ...] = ()
    sparsity: tuple[Share, ...] = (0.5,)
    joint: bool = True
    prune: OpenShare = 0.4
    sparsity_warmup: OpenShare = 0.33
    gate_rate: Positive = 0.02
    price_rate: Positive = 0.02
    price: NotNegative = 10.0

    def __post_init__(self) -> None:
        if self.via and self.mode != "manual":
            raise ValueError(f"method tinyclip: via={list(self.via)} belongs to mode=manual, not {self.mode}")
        if list(self.sparsity) != sorted(self.sparsity) or not self.sparsity:
            raise ValueError(f"method tinyclip: sparsity must grow from stage to stage, got {list(self.sparsity)}")

    def recipe(self, student: nn.Module, teachers: Teachers, data: Pairs, *, seed: int = 0, budget: Budget) -> Recipe:
        """Inheritance, the stages, and the student's scale at the end."""
        teacher = one_teacher(teachers, "tinyclip", data)
        stages = self.pruned if self.mode == "automatic" else self.shrunk
        fixed = [partial(fill, student, self.kappa)] if self.kappa is not None else []
        return Recipe((*stages(student, teacher, data, seed, budget), *fixed), student)

    def shrunk(self, student: Any, teacher: Any, data: Pairs, seed: int, budget: Budget) -> list[Stage | Step]:
        """A stage for each network, the student's last."""
        where = "method tinyclip: via"
        between = [variant(student, where, seed, k, **change) for k, change in enumerate(self.via)]
        found: list[Stage | Step] = []
        before, networks = teacher, [*between, student]
        budgets = in_parts(budget, data.train, [1.0] * len(networks))
        for k, (network, own) in enumerate(zip(networks, budgets, strict=True)):
            if self.mode == "manual":
                found.append(Inherit(network, before))
            found.append(own.stage(self.learner(Role(network), teacher, own), data.train, name=f"stage_{k}"))
            before = network
        return found

    def pruned(self, student: Any, teacher: Any, data: Pairs, seed: int, budget: Budget) -> list[Stage | Step]:
        """Gates, fusing and what is left, for each share."""
        shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (student, teacher)]
        if shapes[0] != shapes[1]:
            raise ValueError("method tinyclip: mode=automatic prunes a student of the teacher's size; give it that")
        whole = copy.deepcopy(student)
        gated, multipliers = Gated(whole, whole.gate_places()), Multipliers(self.price)
        sparse = Sparsity(gated, ("",) if self.joint else ("image_", "text_"))
        probe = {name: data.train.fields[name][:PROBED] for name in student.reads}
        found: list[Stage | Step] = []
        budgets = in_parts(budget, data.train, [self.prune, 1.0 - self.prune] * len(self.sparsity))
        for k, share in enumerate(self.sparsity):
            first, rest = budgets[2 * k : 2 * k + 2]
            opened = Opened(gated, teacher if k == 0 else student, multipliers, self.price)
            learns = first.stage(self.learner(Role(gated), teacher, first, sparse, multipliers), data.train)
            total = learns.updates()
            target = climb((0.0, *self.sparsity)[k], share, max(1, round(self.sparsity_warmup * total)))
            rate = replace(budget.optimiser.rate(), warmup=0)
            both = (
                replace(
                    learns.players[0],
                    optimiser=with_gates(first.optimiser, self.gate_rate, total),
                    scheduled={"target": target},
                ),
                sparse.player(multipliers, self.price_rate, target),
            )
            clamped = Every(1, lambda context: gated.clamp_())
            gates = replace(learns, players=both, every=(clamped,), name=f"gates_{k}")
            found += [opened, gates, Fused(student, gated, probe)]
            rest = replace(rest, optimiser=replace(rest.optimiser, learning_rate=rate))
            found.append(rest.stage(self.learner(Role(student), teacher, rest), data.train, name=f"stage_{k}"))
        return found

    def learner(
        self,
        own: Role,
        teacher: nn.Module,
        budget: Budget,
        sparse: Sparsity | None = None,
        multipliers: Multipliers | None = None,
    ) -> Player:
        """The player of a network, with gates if there are multipliers."""

        def terms(
            batch: Signals, s: Signals, t: Signals | None = None, price: Signals | None = None
        ) -> dict[str, Tensor]:
            found, scale = {}, s.scale_N if self.kappa is None else self.kappa
            if t is not None:
                there = t.scale_N if self.kappa is None else self.kappa
                found["affinity"] = affinity(paired(s), paired(t), scale=scale, target_scale=there)
            if self.alpha < 1:
                found["clip"] = pair_contrast(paired(s), scale=scale)
            if sparse is not None and price is not None:
                found["sparsity"] = sparse.term(batch, price)
            return found

        given = {"t": Role(teacher, "frozen")} if self.alpha > 0 else {}
        given |= {"price": Role(multipliers, view="target")} if multipliers is not None else {}
        weights = {"affinity": self.alpha * self.weight} if self.alpha > 0 else {}
        weights |= {"clip": 1.0 - self.alpha} if self.alpha < 1 else {}
        return Player(own, terms, given, weights, optimiser=budget.optimiser)


def paired(s: Signals) -> Tensor:
    """An item's image and text, (N, 2, D)."""
    return torch.stack([s.image_ND, s.text_ND], 1)


def fill(model: Any, kappa: float, context: Context) -> None:
    """Set the model's own scale to kappa."""
    with torch.no_grad():
        model.log_scale().fill_(math.log(kappa))
