"""Behaviour cloning (Pomerleau, NeurIPS 1988): imitate the teacher on the teacher's own states.

Equation: student <- argmin over (s, a*) of loss(student(s), a*), with all states from episodes that the teacher drove.

Details
- The teacher reads its own (privileged) groups, the student its (deployable) ones; only the latter are kept.
- Labels are the teacher's mean actions, clipped to [-1, 1]. The loss is smooth L1 with a small threshold.
- The student's observation statistics, if it has any, are those of the collected states.
- All episodes are collected once, before the first update; an environment plays several in a row.

Deviations: none. It is DAgger with the teacher in every environment and one round; the default budget (episodes and
updates) is DAgger's, so that the two can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from embodkd.core import Budget, Optimiser, Recipe, Rollout, Teachers, constant, cosine, mixture, one_teacher
from embodkd.core.config.ranges import Count, NotNegative, Positive, Whole
from embodkd.core.ranks import ranks
from embodkd.methods import METHODS
from embodkd.parts.players.imitation import imitator, one_action


@METHODS.register(
    "bc", domain="robot", needs="task", family="imitation", paper="Pomerleau 1988 (ALVINN)", title="Behaviour cloning"
)
@dataclass(frozen=True)
class BC:
    """Hyper-parameters.

    episodes: how many full-length episodes of the teacher are collected in all environments together (rounded up to
    whole episodes per environment); epochs: passes over them. The others as in DAgger.
    """

    episodes: Count = 1024
    epochs: Count = 13
    batch_size: Count = 256
    learning_rate: Positive = 1e-3
    final_learning_rate: NotNegative = 1e-5
    warmup: Whole = 100
    smooth_l1_beta: NotNegative = 0.1
    max_grad_norm: Positive = 1.0
    allow_privileged: bool = False

    def recipe(
        self, student: Any, teachers: Teachers, data: Any, *, seed: int = 0, budget: Budget | None = None
    ) -> Recipe:
        """One collection from the only teacher in the task `data`, then the budget: `epochs` passes unless given."""
        one_action(student, "method=bc")
        teacher = one_teacher(teachers, "bc")
        per_environment = -(-self.episodes // sum(ranks().gather(data.num_envs)))
        collected = Rollout(
            data,
            mixture(teacher, student, constant(1.0)),
            label=teacher,
            groups=student.reads,
            steps=per_environment * data.spec.max_steps,
            seed=seed,
            refresh="never",
            allow_privileged=self.allow_privileged,
            first_rows=getattr(student, "update_statistics", None),
        )

        rate = cosine(self.learning_rate, self.final_learning_rate, warmup=self.warmup)
        optimiser = Optimiser("adam", rate, max_grad_norm=self.max_grad_norm)
        budget = budget or Budget(self.epochs, self.batch_size, optimiser=optimiser)
        player = imitator(student, "target", budget.optimiser, beta=self.smooth_l1_beta)
        return replace(budget.fit(player, collected, name="bc"), product=student)
