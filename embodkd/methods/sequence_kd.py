"""Sequence-level knowledge distillation (Kim and Rush, EMNLP 2016): learn from texts that the teacher wrote.

Equation (their eq. 7, the mode of the teacher's distribution replaced by draws from it):
    loss = -log p_student(y | x),   y ~ p_teacher(. | x),
summed over tokens, as a mean over all tokens of a batch.

Details: the teacher writes before the student learns, `responses` texts per prompt, and is not asked again. Temperature
0 takes the likeliest tokens. The texts of the training part give the prompts; what follows them is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Player,
    Recipe,
    Role,
    Signals,
    Teachers,
    Texts,
    by_position,
    cross_entropy,
    one_teacher,
)
from embodkd.core.config.ranges import Count, NotNegative, Some, Whole
from embodkd.methods import METHODS
from embodkd.parts.texts.written import written


@METHODS.register(
    "sequence_kd",
    domain="language",
    needs="texts",
    family="sequences",
    paper="arXiv:1606.07947",
    title="Sequence-level distillation",
)
@dataclass(frozen=True)
class SequenceKD:
    """first, prompts: the place of the first prompt in the training part and how many there are (null: the rest);
    responses: texts for each; temperature, top_p: by which the teacher writes."""

    first: Whole = 0
    prompts: Count | None = None
    responses: Count = 1
    temperature: NotNegative = 1.0
    top_p: Some = 1.0

    def recipe(self, student: nn.Module, teachers: Teachers, data: Texts, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage on the teacher's texts."""
        teacher, size = one_teacher(teachers, "sequence_kd", data), data.train.size()
        last = size if self.prompts is None else self.first + self.prompts
        if last > size or self.first >= last:
            raise ValueError(f"method sequence_kd: prompts {self.first} to {last - 1} of {size}: there are not so many")
        texts = written(
            teacher,
            data,
            data.train.fields,
            np.arange(self.first, last),
            where="method sequence_kd",
            temperature=self.temperature,
            top_p=self.top_p,
            responses=self.responses,
            seed=seed,
        )

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"nll": by_position(cross_entropy, s.logits_NTV, batch.tokens_NT)}

        player = Player(Role(student, view="tokens"), terms, mass={"nll": "mask"}, optimiser=budget.optimiser)
        return budget.fit(player, texts)
