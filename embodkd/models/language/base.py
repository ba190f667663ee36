"""What every language model is: logits of each token given those before it, at once or one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.runs.artefact import golden_unit
from embodkd.models.base import Model

GOLDEN_TOKENS, GOLDEN_COLUMNS = 16, 64


class LanguageModel(Model):
    """tokens (N, T) int64 -> {"logits": (N, T, vocabulary), "hidden": (N, T, D), ...}.

    The logits at a place are those of the token there, given all tokens before it: the model puts `start` in front and
    does not read a row's last token. `hidden` is the input of its last linear layer, `head`.
    """

    built_for = ("vocabulary", "length", "start", "end")
    judged_as = "language"
    reads = "tokens"
    head: nn.Linear

    def __init__(self, vocabulary: int, length: int, start: int, end: int | None) -> None:
        super().__init__()
        if vocabulary < 2 or not 0 <= start < vocabulary:
            raise ValueError(f"a language model needs at least 2 tokens, start among them; got {vocabulary}, {start}")
        self.vocabulary, self.length, self.start, self.end = int(vocabulary), int(length), int(start), end

    def forward(self, tokens_NT: Tensor) -> dict[str, Tensor]:
        """All signals of whole rows."""
        raise NotImplementedError

    def hidden(self, tokens_NT: Tensor) -> Tensor:
        """What the head reads for whole rows, (N, T, D), without making logits."""
        seen: list[Tensor] = []

        def nothing_to_do(head: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.append(given[0])
            return (given[0][:, :0],)

        reader = self.head.register_forward_pre_hook(nothing_to_do)
        try:
            self(tokens_NT)
        finally:
            reader.remove()
        return seen[0]

    def next_logits(self, token_NT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """(logits_NV of the token behind these, the state that goes on from here).

        token_NT: the tokens since the last call; without a state all from the beginning, which may be none: (N, 0).
        What all calls have read counts, and is read once.
        """
        raise NotImplementedError

    def shifted(self, tokens_NT: Tensor) -> Tensor:
        """What stands before each token: `start`, then the row without its last one."""
        return torch.cat([self.begun(tokens_NT[:, :0]), tokens_NT[:, :-1]], 1)

    def begun(self, tokens_NT: Tensor) -> Tensor:
        """These tokens behind `start`."""
        return torch.cat([tokens_NT.new_full((len(tokens_NT), 1), self.start), tokens_NT], 1)

    def golden_input(self, rows: int) -> Any:
        """Tokens (rows, up to GOLDEN_TOKENS)."""
        shape = (rows, min(self.length, GOLDEN_TOKENS))
        return torch.from_numpy((golden_unit(shape) * self.vocabulary).astype("int64")).to(self.head.weight.device)

    def golden_answer(self, logits: Tensor) -> Tensor:
        """The first logits of each last token."""
        return logits[:, -1, :GOLDEN_COLUMNS]
