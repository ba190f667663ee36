"""One call instead of many (Luhman & Luhman 2021, arXiv:2101.02388): a diffusion policy learns where its teacher ends.

Equation: a deterministic sampler is a function of its start x and of what is seen, D(x, o); the student makes the same
way in one step, G(x, o):
    loss = mean over the chunk of (G(x, o) - D(x, o))^2,  x = sqrt(abar_k) plan + sqrt(1 - abar_k) eps.

Details
- The start is that of acting: the plan that is left of the former chunk with fresh noise of the warm start's level k.
  In a window of demonstrations that plan is its own first horizon - execute actions, then zeros.
- A share `first_chunks` of the windows stands for the start of an episode, where nothing is planned: there the teacher
  samples cold from eps itself, and the student starts at level k of a plan of zeros, with the same eps.
- Student and teacher see the same plan, noise and observation. The student begins with the teacher's ranges, and,
  where its network is as large, with the teacher's weights: its first answer is one DDIM step from the start's level
  to the end. One call needs less than many do: a network of other widths begins with its own weights.
- The demonstrations only say what is seen and planned; their actions are not targets.

Deviations: the paper distils pure noise to images; a chunk policy starts from its plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Optimiser,
    Player,
    Recipe,
    Role,
    Signals,
    Teachers,
    cosine,
    drawn,
    one_teacher,
    squared_error,
)
from embodkd.core.config.ranges import Count, Positive, Share, Whole
from embodkd.core.transfer import sent
from embodkd.methods import METHODS


@METHODS.register(
    "one_step",
    domain="robot",
    needs="demonstrations",
    family="diffusion",
    paper="arXiv:2101.02388",
    title="One-step diffusion policy (sampler distillation)",
)
@dataclass(frozen=True)
class OneStep:
    """Hyper-parameters; rounds x updates_per_round updates, a checkpoint at most once per round."""

    rounds: Count = 10
    updates_per_round: Count = 300
    batch_size: Count = 64
    learning_rate: Positive = 3e-4
    warmup: Whole = 100
    first_chunks: Share = 0.2
    allow_privileged: bool = False

    def recipe(
        self, student: Any, teachers: Teachers, data: Any, *, seed: int = 0, budget: Budget | None = None
    ) -> Recipe:
        """Take over what fits of the teacher, then follow it. ValueError if they see or predict different things."""
        teacher = one_teacher(teachers, "one_step")
        if student.privileged and not self.allow_privileged:
            raise ValueError(
                "the student reads privileged groups, which a deployed robot will not have: let it read others "
                "(student.vectors), or say method.allow_privileged=true, as for a policy that will be a teacher"
            )
        alike = _shapes(student.unet) == _shapes(teacher.unet)
        around, expected = (
            {name: shape for name, shape in _shapes(model).items() if not name.startswith("unet.")}
            for model in (student, teacher)
        )
        ahead = (student.horizon, student.execute) == (teacher.horizon, teacher.execute)
        if around != expected or not ahead or not student.warm:
            raise ValueError(
                "method one_step: the student must see and predict what its teacher does (vectors, cameras, horizon, "
                "execute), with a warm start; only student.steps=1 and student.widths may differ"
            )

        def take_over(context: Context) -> None:
            given = teacher.state_dict()
            student.load_state_dict(given if alike else student.state_dict() | {name: given[name] for name in around})

        def starts(batch: Signals) -> Mapping[str, Tensor]:
            plan_NHA = student.actions.normalise(batch.action_NHA)
            left = student.horizon - student.execute
            plan_NHA = torch.cat([plan_NHA[:, :left], torch.zeros_like(plan_NHA[:, left:])], dim=1)
            count, shape = len(plan_NHA), plan_NHA.shape[1:]
            at: dict[str, Any] = {"device": plan_NHA.device, "dtype": plan_NHA.dtype}
            first_N = sent(drawn(count, torch.rand) < self.first_chunks, plan_NHA.device)
            noise_NHA = drawn(count, lambda items: torch.randn(items, *shape, **at))
            return {"plan": plan_NHA, "begins": first_N, "noise": noise_NHA}

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            return {"end": squared_error(s.chunk.flatten(1), t.chunk.flatten(1))}

        optimiser = Optimiser("adam", cosine(self.learning_rate, 0.0, warmup=self.warmup), max_grad_norm=1.0)
        own = Budget(batch_size=self.batch_size, updates=self.updates_per_round, optimiser=optimiser)
        length = budget or own
        view = (*student.reads, "plan", "begins", "noise")
        player = Player(
            Role(Sampler(student), view=view, output="chunk"),
            terms,
            given={"t": Role(Sampler(teacher), "frozen", view=view, output="chunk")},
            optimiser=length.optimiser,
        )
        stage = length.stage(player, data.train, rounds=self.rounds, prepare=(starts,), name="one_step")
        return Recipe((take_over, stage), student)


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


class Sampler(nn.Module):
    """A diffusion policy whose forward pass samples from a given plan and noise."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Normalised chunks, (N, H, A)."""
        history = (batch["plan"], batch["begins"], batch["noise"])
        sample: Tensor = self.policy.sample(*history, self.policy.condition(batch))
        return sample
