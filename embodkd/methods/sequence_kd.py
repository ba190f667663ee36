"""Sequence-level knowledge distillation (Kim and Rush, EMNLP 2016): learn from texts that the teacher wrote.

Equation (their eq. 7, the mode of the teacher's distribution replaced by draws from it):
    loss = -log p_student(y | x),   y ~ p_teacher(. | x),
summed over tokens, as a mean over all tokens of a batch.

Details: the teacher writes before the student learns, `responses` texts per prompt, and is not asked again. Temperature
0 takes the likeliest tokens. The texts of the training part give the prompts; what follows them is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from embodkd.parts.texts.vocabulary import Head, Headless, chunked_cross_entropy
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
    """responses: texts for each prompt; temperature, top_p: by which the teacher writes.

    chunk: make logits for so many tokens at a time and never hold all; 0 makes them at once, which is faster where they
    are few. Parameters are called "model.NAME" then (`optimiser.groups`).
    """

    responses: Count = 1
    temperature: NotNegative = 1.0
    top_p: Some = 1.0
    chunk: Whole = 0

    def recipe(self, student: nn.Module, teachers: Teachers, data: Texts, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage on the teacher's texts."""
        texts = written(
            one_teacher(teachers, "sequence_kd", data),
            data,
            data.train,
            where="method sequence_kd",
            temperature=self.temperature,
            top_p=self.top_p,
            responses=self.responses,
            seed=seed,
        )

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"nll": by_position(cross_entropy, s.logits_NTV, batch.tokens_NT)}

        def chunked(batch: Signals, s: Signals) -> dict[str, Tensor]:
            head, mask_NT = Head.of(student), batch.mask_NT
            return {"nll": chunked_cross_entropy(s.hidden_NTD, head, batch.tokens_NT, mask=mask_NT, chunk=self.chunk)}

        model, terms = (Headless(student), chunked) if self.chunk else (student, terms)
        player = Player(Role(model, view="tokens"), terms, mass={"nll": "mask"}, optimiser=budget.optimiser)
        return Recipe((budget.stage(player, texts),), student)
