"""A data set of texts: sequences of tokens, prompts with what is to follow, and what tells a right answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from embodkd.core.sources.dataset import DataSet, Items, Spelling, check_tokens
from embodkd.core.sources.source import TensorData

Checker = Callable[[str, str], bool]
"""Whether the second text is a right answer to the first, a prompt."""


@dataclass(frozen=True)
class Texts(DataSet):
    """Three parts of texts and any number of extra ones.

    Every part has the fields `tokens` (N, T) int64 in 0..vocabulary-1, `mask` (N, T) bool, true where a token is to be
    learned and judged (not in a prompt, not behind the end), and `sample_id` (N,) int64. Where texts begin with a
    prompt, `prompt` (N,) int64 says how many tokens it has, in 0..T. All parts have the same T. Rows are filled up
    behind the text, with the token `pad`. ValueError if any of this fails.

    A model's logits at a place are those of the token at that place, given all before it: nothing is shifted, and the
    token `start`, which stands before the first one, is no part of a row. end: the token behind a text's last one,
    which belongs to the text; None where texts just stop.
    spelling: what the tokens were made with; check: tells right answers, where there are such, from the texts.
    """

    train: TensorData
    validation: TensorData
    test: TensorData
    vocabulary: int
    start: int
    end: int | None = None
    pad: int = 0
    extra: Mapping[str, TensorData] = field(default_factory=dict)
    items: Items | None = None
    spelling: Spelling | None = None
    check: Checker | None = None
    names: tuple[str, ...] | None = None

    kind: ClassVar[str] = "texts"
    counted: ClassVar[str | None] = "vocabulary"

    def __post_init__(self) -> None:
        for name, data in self.parts().items():
            self._check(name, data)
        for word in ("start", "end", "pad"):
            token = getattr(self, word)
            if token is not None and not 0 <= token < self.vocabulary:
                raise ValueError(f"{word}: token {token} is none of 0..{self.vocabulary - 1}")
        if self.check is not None and (self.spelling is None or "prompt" not in self.train.fields):
            raise ValueError("check: whoever tells right answers reads prompts as text: give spelling and prompt, too")
        self.check_parts()

    @property
    def length(self) -> int:
        """T, how many tokens a row holds."""
        return int(self.train.fields["tokens"].shape[1])

    def facts(self) -> dict[str, Any]:
        """vocabulary, length, start and end."""
        return {"vocabulary": self.vocabulary, "length": self.length, "start": self.start, "end": self.end}

    def solved(self, tokens_NT: Tensor, prompt_N: Tensor) -> Tensor:
        """Whether what follows each prompt, up to the first `end`, is a right answer to it: bool (N,).

        ValueError if the data have nothing that tells right answers.
        """
        if self.check is None or self.spelling is None:
            raise ValueError("these texts have nothing that tells right answers from wrong ones (check)")
        found = []
        for tokens, prompt in zip(tokens_NT.tolist(), prompt_N.tolist(), strict=True):
            answer = tokens[prompt:]
            stop = answer.index(self.end) if self.end in answer else len(answer)
            found.append(bool(self.check(self.spelling.decode(tokens[:prompt]), self.spelling.decode(answer[:stop]))))
        return torch.tensor(found, dtype=torch.bool)

    def _check(self, name: str, data: TensorData) -> None:
        fields, length = data.fields, self.length if "tokens" in self.train.fields else None
        missing = [n for n in ("tokens", "mask", "sample_id") if n not in fields]
        if missing:
            raise ValueError(f"{name}: lacks the field {' and '.join(missing)}; it has {', '.join(fields)}")
        check_tokens(name, fields["tokens"], fields["mask"], self.vocabulary)
        if fields["tokens"].shape[1] != length:
            raise ValueError(f"{name}: rows of {fields['tokens'].shape[1]} tokens, those of train have {length}")
        if not fields["mask"].any(1).all():
            row = int((~fields["mask"].any(1)).nonzero()[0])
            raise ValueError(
                f"{name}: row {row} has no token to be learned: its mask is false throughout; leave it out"
            )
        prompt_N = fields.get("prompt")
        if prompt_N is None:
            return
        if prompt_N.dtype != torch.int64 or prompt_N.shape != (data.size(),):
            raise ValueError(f"{name}: prompt is {prompt_N.dtype} {tuple(prompt_N.shape)}, expected torch.int64 (N,)")
        inside_NT = torch.arange(fields["tokens"].shape[1]) < prompt_N[:, None]
        if prompt_N.min() < 0 or prompt_N.max() > inside_NT.shape[1] or (inside_NT & fields["mask"]).any():
            raise ValueError(f"{name}: a prompt is longer than its row, or the mask holds tokens of it")
