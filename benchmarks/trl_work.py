"""What both sides of the comparison with TRL are given: language models, and random texts with prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.measure import REPEATS
from embodkd.core import TensorData, Texts
from embodkd.data.text.tokenizer import SPECIAL, Tokenizer
from embodkd.models import make_model


@dataclass(frozen=True)
class Work:
    """One call: so many updates of `batch` texts (or pairs of texts) of `length` tokens, `prompt` of them a prompt.

    divergence, beta: those of teacher_hacking.
    """

    updates: int = 8
    batch: int = 4
    prompt: int = 64
    length: int = 128
    width: int = 256
    depth: int = 6
    teacher_depth: int = 12
    vocabulary: int = 1024
    divergence: Literal["forward", "reverse", "js"] = "js"
    beta: float = 0.5
    repeats: int = REPEATS


def tokenizer(work: Work) -> Tokenizer:
    """A token per letter of an alphabet that has enough of them."""
    return Tokenizer.characters("".join(chr(0x4E00 + k) for k in range(work.vocabulary - len(SPECIAL))))


def network(work: Work, depth: int, seed: int) -> Any:
    """A language model of the work; what transformers knows is its `backbone`. It writes to the end of a row."""
    torch.manual_seed(seed)
    size = {"width": work.width, "depth": depth}
    start = tokenizer(work).start
    return make_model("causal_lm", vocabulary=work.vocabulary, length=work.length, start=start, end=None, **size)


def student(work: Work) -> Any:
    """The one that learns, as it begins."""
    return network(work, work.depth, 0)


def teacher(work: Work) -> Any:
    """The one that it learns from in GKD."""
    return network(work, work.teacher_depth, 1)


def texts(work: Work) -> Texts:
    """Random letters with prompts. "pool" has an epoch to distil on, "pairs" one of a chosen and a rejected answer."""
    generator, spelling, parts = torch.Generator().manual_seed(0), tokenizer(work), dict[str, TensorData]()
    count, first = work.updates * work.batch, 0
    for name, size in {"train": 2, "validation": 2, "test": 2, "pool": count, "pairs": count}.items():
        prompt_NT = _letters(work, size, work.prompt, generator)
        end_N1 = torch.full((size, 1), spelling.end)
        chosen_NT, rejected_NT = (
            torch.cat([prompt_NT, _letters(work, size, work.length - work.prompt - 1, generator), end_N1], 1)
            for _ in range(2)
        )
        mask_NT = (torch.arange(work.length) >= work.prompt).expand(size, -1).clone()
        fields = {"tokens": chosen_NT, "mask": mask_NT, "sample_id": torch.arange(first, first + size)}
        fields["prompt"] = torch.full((size,), work.prompt)
        pairs = {"chosen": chosen_NT, "chosen_mask": mask_NT, "rejected": rejected_NT, "rejected_mask": mask_NT}
        parts[name] = TensorData(fields | (pairs if name == "pairs" else {}))
        first += size
    given = {name: parts.pop(name) for name in ("train", "validation", "test")}
    facts = {"vocabulary": work.vocabulary, "start": spelling.start, "spelling": spelling}
    return Texts(**given, extra=parts, check=lambda prompt, answer: True, **facts)


def _letters(work: Work, count: int, length: int, generator: torch.Generator) -> Tensor:
    return torch.randint(len(SPECIAL), work.vocabulary, (count, length), generator=generator)
