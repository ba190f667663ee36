"""What a language model writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from embodkd.core import Texts
from embodkd.core.modules.modes import evaluating
from embodkd.evaluation.decoding import answered
from embodkd.evaluation.samples.kept import Sample, Samples, Shown

_PROMPTS = 8


@torch.no_grad()
def written(model: Any, data: Texts, part: str = "test", device: torch.device | str = "cpu") -> Samples:
    """How it goes on with the first prompts of a part, and whether that is right, where the data can tell.

    Where there are right answers it takes the likeliest tokens, else it draws at temperature 1, with a fixed seed. None
    of a model that cannot write, or of tokens that nobody can read.
    """
    how = "the likeliest tokens" if data.check else "drawn at temperature 1, with one seed for all"
    about, spelling = f"How each goes on with the same prompts: {how}.", data.spelling
    if spelling is None or not hasattr(model, "next_logits"):
        return Samples(about)
    judged = data.part(part)
    batch = judged.gather(np.arange(min(_PROMPTS, judged.size())), 0)
    tokens_NT = batch["tokens"]
    prompt_N = batch["prompt"] if "prompt" in batch else torch.zeros(len(tokens_NT), dtype=torch.int64)
    temperature = 0.0 if data.check else 1.0
    with evaluating(model.to(device)):
        given = (tokens_NT.to(device), prompt_N.to(device), batch["sample_id"])
        own_NT = answered(model, *given, end=data.end, pad=data.pad, temperature=temperature).cpu()
    right: list[Any] = data.solved(own_NT, prompt_N).tolist() if data.check else [None] * len(own_NT)
    rows = zip(tokens_NT.tolist(), own_NT.tolist(), prompt_N.tolist(), right, strict=True)
    samples = [
        Sample(
            Shown(spelling.decode(true[:prompt])),
            Shown(spelling.decode(_ended(own[prompt:], data.end))),
            Shown(spelling.decode(_ended(true[prompt:], data.end))),
            good,
        )
        for true, own, prompt, good in rows
    ]
    return Samples(about, tuple(samples))


def _ended(tokens: list[int], end: int | None) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens
