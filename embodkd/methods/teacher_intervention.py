"""Teacher intervention, TI (Kim et al., EACL 2023): a quantised student's layers first learn from a clean signal.

Equation (their section 4), the student a copy of the teacher with ternary weights and activations of 8 bits; of layer
i, S_i its attention's scores, Y_i the layer norm of attention output plus input, H_i hidden states, z logits:
    loss = sum_i MSE(S_i, S_i^t) + sum_i MSE(H_i, H_i^t) + sum_i MSE(Y_i, Y_i^t) - softmax(z^t) . log softmax(z).
During the first share of all updates the teacher's own take the place of the student's attention output O_i (TI-O),
context (TI-C) or map (TI-M) in every layer: TI-O to a sixth of it, TI-C to a third, then TI-M ("gradual", TI-G).

Details
- Scores of at most -100 (what the mask forbids) count as 0 on both sides; padding counts like every place.
- Under an intervention queries and keys read the layer's input without gradient, values too but under TI-M. So W_V and
  W_O learn nothing under TI-O, W_V nothing under TI-C, and W_Q and W_K learn from their own scores alone.
- The two steps have optimisers and schedules of their own. Share 0 is plain distillation of the quantised student.
- Quantised are word embeddings, attention, MLPs and pooler, with straight-through gradients. Clip, then scale by the
  largest: as the code has it. TI-C within TI-G is the code's, too.
- Nobody's activations but the student's own count when it is judged. The product computes with few bits by itself.

Deviations
- A weight that an intervention leaves out has a gradient of 0, not none: an optimiser with weight decay still moves it.
- BertAdam is adamw with eps 1e-6, weight_decay 0.01 and decay_biases false, but with its bias correction, and
  max_grad_norm is of the whole gradient, not of each tensor. Regression is left out: the data have classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Teachers,
    cross_entropy,
    one_teacher,
    soft_cross_entropy,
    squared_error,
    staircase,
)
from embodkd.core.config.ranges import NotNegative, Part, Positive, Whole
from embodkd.core.weights.schedule import WeightCurve
from embodkd.methods import METHODS
from embodkd.parts.networks.bert_taps import INTERVENTIONS, WHICH, allowed, compared, depth, offered, replaced
from embodkd.parts.networks.quantised_bert import Bits, Quantisation, take_after
from embodkd.parts.players.learning_curve import LearningCurve

LOSSES = ("score", "hidden", "output", "soft", "ce")


@METHODS.register(
    "teacher_intervention",
    domain="language",
    needs="splits",
    family="quantisation",
    paper="arXiv:2302.11812",
    title="A quantised student with its teacher's activations (TI)",
)
@dataclass(frozen=True)
class TeacherIntervention:
    """Hyper-parameters.

    share: of all updates, those with an intervention (60 of them in the paper); intervention: which, or in which order;
    rate: the learning rate of these updates (null: the budget's). score, hidden, output, soft: weights of the four
    losses, ce of the labels. quantised: false copies the teacher as it is; clip, factor, bits: as in Quantisation.
    evaluations: how often the validation part judges, evenly, which measures `area`, `final` and `best`; keep_best: the
    product is the best of these states.
    """

    share: Part = 0.1
    intervention: Literal["gradual", "inverted", "stochastic", "output", "context", "map"] = "gradual"
    rate: WeightCurve | None = None
    score: NotNegative = 1.0
    hidden: NotNegative = 1.0
    output: NotNegative = 1.0
    soft: NotNegative = 1.0
    ce: NotNegative = 0.0
    quantised: bool = True
    clip: Positive = 2.5
    factor: NotNegative = 0.7
    bits: Bits = 8
    evaluations: Whole = 0
    keep_best: bool = False

    def __post_init__(self) -> None:
        if self.keep_best and not self.evaluations:
            raise ValueError("method teacher_intervention: keep_best needs evaluations to choose by")

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """Inherit and quantise at once; updates with the teacher's activations, then without, then what came of it."""
        teacher = one_teacher(teachers, "teacher_intervention", data)
        how = Quantisation(self.clip, self.factor, self.bits) if self.quantised else None
        take_after(student, teacher, how, "method teacher_intervention")
        total = budget.updates or budget.epochs * -(-data.train.size() // budget.batch_size)
        steps = min(round(self.share * total), total - 1)
        curve = LearningCurve(student, data.validation, total, self.evaluations, keep_best=self.keep_best)
        stages: list[Any] = []
        if steps:
            first, budget = replace(budget, updates=steps), replace(budget, updates=total - steps)
            if self.rate is not None:
                first = replace(first, optimiser=replace(first.optimiser, learning_rate=self.rate))
            intervened = self.player(student, teacher, curve, first, self.numbers(steps, seed))
            stages.append(first.stage(intervened, data.train, every=curve.every(0, steps), name="intervened"))
        own = self.player(student, teacher, curve, budget, ())
        stages.append(budget.stage(own, data.train, every=curve.every(steps, total), name="own"))
        return Recipe((*stages, *([curve.verdict] if self.evaluations else [])), student)

    def player(
        self, student: nn.Module, teacher: nn.Module, curve: LearningCurve, budget: Budget, numbers: tuple[int, ...]
    ) -> Player:
        """The student, with the intervention of this number in each update."""
        layers = depth(student)
        read, kinds = compared(layers), [kind for k, kind in enumerate(INTERVENTIONS) if k in numbers]
        return Player(
            Role(student, taps={**(replaced(layers, kinds) if kinds else {}), **read}),
            self.terms,
            given={"t": Role(teacher, "frozen", taps={**offered(layers, kinds), **read})},
            first=("t",),
            weights={name: getattr(self, name) for name in LOSSES if getattr(self, name)},
            scheduled={WHICH: staircase(*numbers)} if kinds else {},
            helpers={"curve": curve} if self.evaluations else {},
            optimiser=budget.optimiser,
        )

    def numbers(self, steps: int, seed: int) -> tuple[int, ...]:
        """Which of INTERVENTIONS is on in each of the first `steps` updates."""
        if self.intervention == "stochastic":
            return tuple(np.random.default_rng((seed, steps)).integers(0, len(INTERVENTIONS), steps).tolist())
        if self.intervention == "gradual":
            return tuple((6 * k >= steps) + (3 * k >= steps) for k in range(steps))
        if self.intervention == "inverted":
            return tuple(2 - (3 * k >= steps) - (3 * k >= 2 * steps) for k in range(steps))
        return (INTERVENTIONS.index(self.intervention),) * steps

    def terms(self, batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
        """All losses that have a weight."""
        found = {}
        if self.score:
            found["score"] = distance(s, t, "scores_", allowed)
        if self.hidden:
            found["hidden"] = distance(s, t, "hidden_")
        if self.output:
            found["output"] = distance(s, t, "after_")
        if self.soft:
            found["soft"] = soft_cross_entropy(s.logits_NC, t.logits_NC.softmax(-1))
        if self.ce:
            found["ce"] = cross_entropy(s.logits_NC, batch.label_N)
        return found


def distance(s: Signals, t: Signals, where: str, part: Callable[[Tensor], Tensor] = lambda signal: signal) -> Tensor:
    """The mean squared error of the signals whose names begin so, summed over the layers, (N,)."""
    errors = [squared_error(part(s[name]), part(t[name])) for name in t if name.startswith(where)]
    return torch.stack(errors).sum(0)
