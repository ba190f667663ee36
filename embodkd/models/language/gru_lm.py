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

    tied: the head has the embedding's weights, and a bias of its own. dropout follows each layer. The state is those of
    the layers, (1, N, width) each.
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
        # one by one, since the dropout inside a stack of torch's would depend on how a batch is shared out
        self.layers = nn.ModuleList(nn.GRU(width, width, batch_first=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary)
        if tied:
            self.head.weight = self.embedding.weight
            # torch's embeddings are of size 1, the head's rows are to give logits of about that size
            nn.init.normal_(self.head.weight, std=width**-0.5)

    def forward(self, tokens_NT: Tensor) -> dict[str, Tensor]:
        """{"logits": (N, T, V), "hidden": (N, T, D)}."""
        hidden_NTD, _ = self._read(self.shifted(tokens_NT), None)
        return {"logits": self.head(hidden_NTD), "hidden": hidden_NTD}

    def next_logits(self, token_NT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """See LanguageModel."""
        hidden_NTD, state = self._read(self.begun(token_NT) if state is None else token_NT, state)
        return self.head(hidden_NTD[:, -1]), state

    def _read(self, tokens_NT: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        hidden_NTD, after = self.embedding(tokens_NT), []
        for k, layer in enumerate(self.layers):
            hidden_NTD, own = layer(hidden_NTD, None if state is None else state[k])
            hidden_NTD = self.dropout(hidden_NTD)
            after.append(own)
        return hidden_NTD, tuple(after)
