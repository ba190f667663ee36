"""A recurrent language model: cheap to sample from, since its state is all that it remembers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from embodkd.core.config.ranges import Depth, Part, Width
from embodkd.models.base import MODELS
from embodkd.models.language.base import LanguageModel


@MODELS.register("gru_lm", title="recurrent language model")
class GRULM(LanguageModel):
    """Embedding, `layers` gated recurrent layers, and a linear head, all of `width`.

    tied: the head has the embedding's weights, and a bias of its own. dropout is between the layers and before the
    head. The state is that of the layers, (layers, N, width).
    """

    def __init__(
        self,
        vocabulary: int,
        length: int,
        start: int,
        end: int | None,
        *,
        width: Width = 128,
        layers: Depth = 1,
        tied: bool = False,
        dropout: Part = 0.0,
    ) -> None:
        super().__init__(vocabulary, length, start, end)
        self.embedding = nn.Embedding(vocabulary, width)
        self.gru = nn.GRU(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary)
        if tied:
            self.head.weight = self.embedding.weight
            # torch's embeddings are of size 1, the head's rows are to give logits of about that size
            nn.init.normal_(self.head.weight, std=width**-0.5)

    def forward(self, tokens_NT: Tensor) -> dict[str, Tensor]:
        """{"logits": (N, T, V), "hidden": (N, T, D)}."""
        hidden_NTD = self.dropout(self.gru(self.embedding(self.shifted(tokens_NT)))[0])
        return {"logits": self.head(hidden_NTD), "hidden": hidden_NTD}

    def next_logits(self, token_NT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """See LanguageModel."""
        read_NT = self.begun(token_NT) if state is None else token_NT
        hidden_NTD, state = self.gru(self.embedding(read_NT), state)
        return self.head(self.dropout(hidden_NTD[:, -1])), state
