"""DAgger (Ross, Gordon, Bagnell, AISTATS 2011): imitate the teacher on the states that the student visits.

Equation (their algorithm 3.1): in round i the policy beta_i * teacher + (1 - beta_i) * student acts, every visited
state is labelled with the teacher's action, and the student is fitted to all labels so far:
    student <- argmin over (s, a*) in D_0, ..., D_i of loss(student(s), a*).

Details
- The teacher reads its own (privileged) groups, the student its (deployable) ones; only the latter are kept.
- beta mixes whole environments, not single steps: the teacher drives all of them in round 0, half in round 1.
- Labels are the teacher's mean actions, clipped to [-1, 1]. The loss is smooth L1 with a small threshold.
- The student's observation statistics, if it has any, are those of round 0.
- One learning-rate curve runs over all rounds: warm-up, then a cosine. The student is never started anew.

Deviations: the paper refits from scratch and picks the best of all rounds by validation; here training goes on and
the last student is the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from embodkd.core import (
    Budget,
    Buffer,
    Optimiser,
    Recipe,
    Rollout,
    Teachers,
    cosine,
    mixture,
    one_teacher,
    schedule,
    staircase,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive, Whole
from embodkd.core.weights.schedule import ShareCurve
from embodkd.methods import METHODS
from embodkd.parts.players.imitation import imitator, one_action


@METHODS.register(
    "dagger",
    domain="robot",
    needs="task",
    family="imitation",
    paper="arXiv:1011.0686",
    title="Dataset aggregation (DAgger)",
)
@dataclass(frozen=True)
class DAgger:
    """Hyper-parameters; the defaults fit all students in 8 rounds of 128 environments x 40 steps.

    rounds: collections, each followed by `epochs` passes over everything kept; steps: control steps per round and
    environment (None: one episode). learning_rate climbs for `warmup` updates and falls to `final_learning_rate`
    along a cosine over all rounds. smooth_l1_beta: action error at which the loss turns from square to linear.
    beta: the share of environments that the teacher drives, a schedule over rounds. aggregate: keep former rounds.
    allow_privileged: let the student read privileged groups.
    """

    rounds: Count = 8
    steps: Count | None = None
    epochs: Count = 3
    batch_size: Count = 256
    learning_rate: Positive = 1e-3
    final_learning_rate: NotNegative = 1e-5
    warmup: Whole = 100
    smooth_l1_beta: NotNegative = 0.1
    max_grad_norm: Positive = 1.0
    beta: ShareCurve = staircase(1.0, 0.5, 0.0)
    aggregate: bool = True
    allow_privileged: bool = False

    def recipe(
        self, student: Any, teachers: Teachers, data: Any, *, seed: int = 0, budget: Budget | None = None
    ) -> Recipe:
        """The rounds in the task `data` with the only teacher; after each the budget: `epochs` passes unless given."""
        one_action(student, "method=dagger")
        teacher = one_teacher(teachers, "dagger")
        collected = Rollout(
            data,
            mixture(teacher, student, schedule(self.beta, "method.beta")),
            label=teacher,
            groups=student.reads,
            keep=Buffer(self.aggregate),
            steps=self.steps,
            seed=seed,
            allow_privileged=self.allow_privileged,
            first_rows=getattr(student, "update_statistics", None),
        )

        rate = cosine(self.learning_rate, self.final_learning_rate, warmup=self.warmup)
        optimiser = Optimiser("adam", rate, max_grad_norm=self.max_grad_norm)
        budget = budget or Budget(self.epochs, self.batch_size, optimiser=optimiser)
        player = imitator(student, "target", budget.optimiser, beta=self.smooth_l1_beta)
        return replace(budget.fit(player, collected, rounds=self.rounds, name="dagger"), product=student)
