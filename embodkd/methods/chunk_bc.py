"""Behaviour cloning of action chunks: ResiP's first and last stage (Ankile et al. 2024, arXiv:2407.16677), after
Diffusion Policy (Chi et al. 2023).

Equation: student <- argmin over demonstrated (o_t, a_t, ..., a_t+H-1) of the student's own loss; for a diffusion policy
that is the mean of |eps - eps_student(sqrt(abar_k) a + sqrt(1 - abar_k) eps, k, o_t)|^2 over a random level k.

Details
- The demonstrations come from a data set; no teacher and no simulator is needed. Who acted in them is the teacher.
- The ranges of states and actions are those of the frames that are trained on, and are fitted before anything else.
- Windows may repeat an episode's last action, at most execute - 1 times; a random share of the episodes is held out.
- AdamW; the rate climbs for `warmup` updates and falls to 0 along a cosine. No running average of the weights and no
  clipping of the gradient, as in the published code.

Deviations: the published code keeps the checkpoint that succeeds most often in simulation; here the last one is the
result, and the held-out error is logged at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from embodkd.core import Budget, Context, Optimiser, Recipe, Teachers, cosine, no_teacher
from embodkd.core.config.ranges import Count, NotNegative, Positive, Whole
from embodkd.methods import METHODS
from embodkd.parts.players.imitation import imitator


@METHODS.register(
    "chunk_bc",
    domain="robot",
    needs="demonstrations",
    family="imitation",
    paper="arXiv:2303.04137",
    title="Behaviour cloning of action chunks (Diffusion Policy)",
)
@dataclass(frozen=True)
class ChunkBC:
    """Hyper-parameters.

    rounds x updates_per_round updates are made, and a checkpoint at most once per round. learning_rate climbs for
    `warmup` updates. allow_privileged: let the student read privileged groups, as a policy does that will be a teacher.
    """

    rounds: Count = 20
    updates_per_round: Count = 1000
    batch_size: Count = 256
    learning_rate: Positive = 1e-4
    warmup: Whole = 500
    weight_decay: NotNegative = 1e-6
    max_grad_norm: Positive | None = None
    allow_privileged: bool = False

    def recipe(
        self, student: Any, teachers: Teachers, data: Any, *, seed: int = 0, budget: Budget | None = None
    ) -> Recipe:
        """Fit the ranges, imitate, measure what was held out.

        student: a chunk policy (`loss`, `fit_normalisers`); data: its `train` and `held_out` are sources of chunks,
        and `train.shown` gives the frames that may be learned from. ValueError if the student reads what a robot will
        not have, unasked.
        """
        no_teacher(teachers, "chunk_bc")
        if student.privileged and not self.allow_privileged:
            raise ValueError(
                "the student reads privileged groups, which a deployed robot will not have: let it read others "
                "(student.vectors), or say method.allow_privileged=true, as for a policy that will be a teacher"
            )

        def fit_ranges(context: Context) -> None:
            student.fit_normalisers(*data.train.shown(student.vectors))

        def judge(context: Context) -> dict[str, float]:
            return {"held_out/imitate": held_out_loss(student, data.held_out, seed, context.device, length.batch_size)}

        rate = cosine(self.learning_rate, 0.0, warmup=self.warmup)
        optimiser = Optimiser("adamw", rate, weight_decay=self.weight_decay, max_grad_norm=self.max_grad_norm)
        own = Budget(batch_size=self.batch_size, updates=self.updates_per_round, optimiser=optimiser)
        length = budget or own
        player = imitator(student, "action", length.optimiser, kept=data.train.kept)
        stage = length.stage(player, data.train, rounds=self.rounds, name="chunk_bc")
        return Recipe((fit_ranges, stage, judge), student)


def held_out_loss(student: Any, source: Any, seed: int, device: torch.device, batch_size: int) -> float:
    """The student's mean loss on a source, in evaluation mode; its noise is a function of `seed`."""
    total = 0.0
    with torch.random.fork_rng([device] if device.type == "cuda" else []), student.acting():
        torch.manual_seed(seed)
        for start in range(0, source.size(), batch_size):
            index = np.arange(start, min(start + batch_size, source.size()))
            batch = source.gather(index, 0).to(device)
            masks = () if source.kept is None else (batch[source.kept],)
            total += float(student.loss(batch, batch.action_NHA, *masks).sum())
    return total / source.size()
