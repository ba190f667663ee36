"""Teacher hacking (Tiapkin et al., ICML 2025, arXiv:2502.02671): closer to the teacher, further from the truth.

A third model, the oracle, stands for the truth. Teacher and student first learn from its texts (the teacher elsewhere,
by `sequence_kd`); then the student learns from the teacher alone, and is watched:
    loss   = (1 / |y|) sum_t D(teacher(. | x, y<t), student(. | x, y<t)),    D the divergence KL(teacher || student)
    proxy  = the same on held-out prompts, y written by the teacher;
    golden = the same with the oracle in the teacher's place, y written by the oracle.
Teacher hacking is a time in which proxy falls and golden rises.

Details
- The oracle writes to the prompts of the training part, in the first stage; the second has those of the part "pool".
- What y is, is the experiment: "offline", texts that the teacher wrote once; "online_teacher", new ones at every visit
  of a prompt; "online_student", new ones by the student as it is then. No gradient passes through writing.
- `responses` texts for each prompt of the pool: the budget, and how diverse it is. All arms have equal updates.
- Oracle and teacher are never trained here, and the loss never sees the oracle. Temperature 1, nothing cut off.
- The alarm needs no oracle: under healthy training proxy follows a power law (parts/texts/power_law.py).

Deviations
- The paper's lengths end with a token; with texts of equal length |y| is the same for all.
- The ends of the alarm's fit, 20 and 50 % of the logarithm of time, are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Every,
    Player,
    Recipe,
    Role,
    Signals,
    Source,
    Teachers,
    Texts,
    by_position,
    cross_entropy,
    jensen_shannon,
    kl,
    several_teachers,
)
from embodkd.core.config.ranges import Count, OpenShare, Part, Whole
from embodkd.core.recipe import Terms
from embodkd.core.terms.base import item_mean
from embodkd.methods import METHODS
from embodkd.parts.texts.hacking import Divergence, Watch
from embodkd.parts.texts.vocabulary import Head, Headless, chunked_jensen_shannon, chunked_kl
from embodkd.parts.texts.written import written


@METHODS.register(
    "teacher_hacking",
    domain="language",
    needs="texts",
    family="protocol",
    paper="arXiv:2502.02671",
    title="Teacher hacking, watched by an oracle",
)
@dataclass(frozen=True)
class TeacherHacking:
    """Hyper-parameters.

    source: where texts come from in the second stage. divergence: "forward", "reverse" or "js" with `beta`. share: of
    the budget that the first stage has. responses: texts per prompt, of "offline". evaluations: how often the student
    is watched, evenly in the logarithm of time. chunk: in the second stage make logits, of student and teacher, for so
    many tokens at a time and never hold all; 0 makes them at once. Parameters are called "model.NAME" then.
    """

    source: Literal["offline", "online_teacher", "online_student"] = "offline"
    divergence: Literal["forward", "reverse", "js"] = "forward"
    beta: OpenShare = 0.5
    responses: Count = 1
    share: Part = 0.25
    evaluations: Count = 40
    chunk: Whole = 0

    def recipe(self, student: nn.Module, teachers: Teachers, data: Texts, *, seed: int = 0, budget: Budget) -> Recipe:
        """Imitate the oracle, then the teacher, watched; last a step that says what came of it."""
        named = several_teachers(teachers, "teacher_hacking", data)
        if named.keys() != {"oracle", "teacher"}:
            raise ValueError(f"method teacher_hacking: needs the teachers oracle and teacher, got {', '.join(named)}")
        if budget.updates is None or "pool" not in data.extra:
            raise ValueError(
                "method teacher_hacking: needs budget.updates, and in the part pool (data.pool) prompts that the "
                f"oracle was not asked for; got updates={budget.updates} and the parts {', '.join(data.parts())}"
            )
        first, second = budget.split(self.share)
        imitated = written(named["oracle"], data, data.train, where="method teacher_hacking", seed=seed)
        imitation = Player(Role(student, view="tokens"), self.nll, mass={"nll": "mask"}, optimiser=first.optimiser)
        watch = Watch(student, named["teacher"], named["oracle"], data, self.distance(), seed)
        distance = self.chunked(student, named["teacher"]) if self.chunk else self.terms
        learner, model = (Headless(m) if self.chunk else m for m in (student, named["teacher"]))
        distillation = Player(
            Role(learner, view="tokens"),
            distance,
            given={"t": Role(model, "frozen", view="tokens")},
            optimiser=second.optimiser,
        )
        times = np.geomspace(1, second.updates or 1, self.evaluations).round().astype(int)
        texts = self.texts(student, named["teacher"], data, seed, budget)
        stages = (
            first.stage(imitation, imitated, name="oracle"),
            watch,
            second.stage(distillation, texts, every=[Every(tuple(sorted(set(times.tolist()))), watch)], name="teacher"),
            watch.verdict,
        )
        return Recipe(stages, student)

    def texts(self, student: nn.Module, teacher: nn.Module, data: Texts, seed: int, budget: Budget) -> Source:
        """Where the second stage's texts come from."""
        pool = data.extra["pool"]
        write = partial(written, data=data, part=pool, where="method teacher_hacking", seed=seed + 1)
        if self.source == "offline":
            return write(teacher, responses=self.responses)
        writer = teacher if self.source == "online_teacher" else student
        return write(writer, per_refill=min(budget.batch_size, pool.size()), refresh="step")

    def nll(self, batch: Signals, s: Signals) -> dict[str, Tensor]:
        """Of the oracle's tokens."""
        return {"nll": by_position(cross_entropy, s.logits_NTV, batch.tokens_NT)}

    def terms(self, batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
        """The divergence from the teacher."""
        return {"divergence": self.distance()(s.logits_NTV, t.logits_NTV, mask=batch.mask_NT)}

    def chunked(self, student: nn.Module, teacher: nn.Module) -> Terms:
        """The same, from what the heads read."""
        if self.divergence == "js":
            compare: Callable[..., Tensor] = partial(chunked_jensen_shannon, beta=self.beta)
        else:
            compare = partial(chunked_kl, reverse=self.divergence == "reverse")

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            sides = (s.hidden_NTD, Head.of(student), t.hidden_NTD, Head.of(teacher))
            return {"divergence": item_mean(compare(*sides, mask=batch.mask_NT, chunk=self.chunk), batch.mask_NT)}

        return terms

    def distance(self) -> Divergence:
        """The mean over the tokens of a text."""
        if self.divergence == "js":
            return partial(jensen_shannon, beta=self.beta)
        return partial(kl, reverse=self.divergence == "reverse")
