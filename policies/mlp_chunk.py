"""Chunks of actions by plain regression: ResiP's baselines MLP-C and, with a horizon of one, MLP-S."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from embodkd.policies.base import POLICIES
from embodkd.policies.chunk import ChunkPolicy, History
from embodkd.policies.scaling import Scaling
from embodkd.policies.sentences import Language
from torch import Tensor, nn

from embodkd.core.config.ranges import Depth, Horizon, Part, Width


@POLICIES.register("mlp_chunk", modality="chunk")
class MLPChunk(ChunkPolicy):
    """`blocks` residual blocks of `width` on the vectors; predicts `horizon` actions and carries all of them out.

    error: what imitation makes small. Where demonstrations pass at different times, a "squared" error is smallest
    between them, an "absolute" one on the way of most.
    """

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        vectors: tuple[str, ...] = ("proprio", "privileged"),
        horizon: Horizon = 8,
        width: Width = 1024,
        blocks: Depth = 5,
        dropout: Part = 0.1,
        error: Literal["squared", "absolute"] = "squared",
        scaling: Scaling = "range",
        sentences: tuple[str, ...] | None = None,
        language: Language = "learned",
    ) -> None:
        super().__init__(action_size, horizon, execute=horizon, scaling=scaling)
        self.error = error
        self._read(groups, vectors)
        self._hear(groups, sentences, language)
        self.layers = nn.Sequential(
            nn.Linear(self.vector_size, width),
            *(ResidualLayers(width, dropout) for _ in range(blocks)),
            nn.Linear(width, horizon * action_size),
        )

    def chunk(self, obs: Mapping[str, Tensor], history: History | None = None) -> Tensor:
        """The next actions, normalised, (N, H, A), whatever came before."""
        return self.layers(self.vector(obs)).unflatten(1, (self.horizon, self.action_size))

    def errors(self, obs: Mapping[str, Tensor], actions_NHA: Tensor) -> Tensor:
        """Squared or absolute errors of the normalised actions, (N, H, A)."""
        error_NHA = self.chunk(obs) - self.actions.normalise(actions_NHA)
        return error_NHA.square() if self.error == "squared" else error_NHA.abs()


class ResidualLayers(nn.Module):
    """x -> ReLU(x + Linear(Dropout(ReLU(Linear x))))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))

    def forward(self, x_NF: Tensor) -> Tensor:
        """(N, F) -> (N, F)."""
        return torch.relu(x_NF + self.inner(x_NF))
