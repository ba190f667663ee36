"""TAKD, teacher assistants (Mirzadeh et al., AAAI 2020): networks of middle size hand a large teacher's knowledge on.

Equation (their eq. 3), for each network of the chain teacher -> assistant -> ... -> student and the one before it:
    loss = (1 - alpha) * CE(label, p) + alpha * T^2 * KL(p_before(T) || p(T)).

Details
- One stage per network, each with the whole budget; who has learned is frozen and teaches the next. The product is the
  student, the assistants are left behind.
- An assistant is an untrained network of the student's kind, whose `argument` (a list of widths, of depths) is between
  the student's and the teacher's: `count` of them, equally far apart in logarithm, or with the `sizes` given.

Deviations: none. assistant_alpha 0 trains the assistants on labels alone, which tells what their own teacher is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Stage,
    Step,
    Teachers,
    collect,
    cross_entropy,
    kl,
    one_teacher,
)
from embodkd.core.config.ranges import Positive, Share, Width, Within
from embodkd.methods import METHODS
from embodkd.parts.networks.variants import variant


@METHODS.register(
    "takd",
    domain="vision",
    needs="splits",
    family="logits",
    paper="arXiv:1902.03393",
    title="Distillation by teacher assistants (TAKD)",
)
@dataclass(frozen=True)
class TAKD:
    """temperature and alpha as in plain distillation, assistant_alpha (None: the same) while an assistant learns.

    argument: what of the student's constructor grows towards the teacher. count: assistants between them, 0 is plain
    distillation; sizes: that argument of each, largest first, in the place of `count`.
    """

    temperature: Positive = 4.0
    alpha: Share = 0.5
    assistant_alpha: Share | None = None
    argument: str = "widths"
    count: Annotated[int, Within(0, 100)] = 1
    sizes: tuple[tuple[Width, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"method takd: count must be at least 0, got {self.count}")

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """A stage for each assistant, the largest first, then the student's."""
        model = one_teacher(teachers, "takd", data)
        before, alpha = Role(model, "frozen"), self.alpha if self.assistant_alpha is None else self.assistant_alpha
        stages: list[Stage | Step] = []
        for k, size in enumerate(self.between(student, model)):
            assistant = variant(student, "method takd: assistant", seed, k, **{self.argument: size})
            stages.append(self.stage(assistant, before, alpha, data, budget, f"assistant_{k}"))
            stages.append(partial(tell, assistant, data, k))
            # It does not learn from here on either, but is part of the checkpoints.
            before = Role(assistant, "snapshot")
        stages.append(self.stage(student, before, self.alpha, data, budget, "student"))
        return Recipe(tuple(stages), student)

    def between(self, student: nn.Module, teacher: nn.Module) -> list[tuple[int, ...]]:
        """`argument` of each assistant, the largest first; ValueError where student and teacher have no middle."""
        if self.sizes is not None:
            return list(self.sizes)
        if not self.count:
            return []
        own, other = (getattr(model, "arguments", {}).get(self.argument) for model in (student, teacher))
        if not isinstance(own, (list, tuple)) or not isinstance(other, (list, tuple)) or len(own) != len(other):
            raise ValueError(
                f"method takd: argument {self.argument!r} is {own} of the student and {other} of the teacher; what is "
                "between them needs lists of one length: choose another argument, or give sizes"
            )
        shares = [(k + 1) / (self.count + 1) for k in range(self.count)]
        return [tuple(round(t ** (1 - q) * s**q) for s, t in zip(own, other, strict=True)) for q in shares]

    def stage(self, learner: nn.Module, before: Role, alpha: float, data: Splits, budget: Budget, name: str) -> Stage:
        """Plain distillation from `before`."""

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            return {
                "ce": cross_entropy(s.logits_NC, batch.label_N),
                "kd": kl(s.logits_NC, t.logits_NC, temperature=self.temperature),
            }

        weights = {"ce": 1.0 - alpha, "kd": alpha}
        player = Player(Role(learner), terms, {"t": before}, weights, optimiser=budget.optimiser, name=name)
        return budget.stage(player, data.train, name=name)


def tell(assistant: nn.Module, data: Splits, k: int, context: Context) -> dict[str, float]:
    """How good assistant `k` has become, in percent of the validation part."""
    s = collect(Role(assistant, "frozen"), data.validation, device=context.device)
    return {f"assistant_{k}_accuracy": 100.0 * float((s.logits_NC.argmax(1) == s.label_N).double().mean())}
