"""A teacher that is wrong on purpose: the outputs of a share of the training samples, classes permuted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Corrupted(nn.Module):
    """`model` with permuted classes on a share of the samples, chosen by id; all others get its own answers.

    share: of `sample_ids`, exactly round(share * N) of them. Each of these has a permutation of its own, a rotation of
    the classes by 1..C-1 places, so no class keeps its logit and the sample stays wrong in the same way for good.
    same: one rotation for all of them, so that the errors have a rule. It reads the fields "input" and "sample_id" of a
    batch; attributes such as `classes` or `classifier` are the model's.
    """

    reads = ("input", "sample_id")

    def __init__(
        self, model: nn.Module, sample_ids: Tensor, classes: int, *, share: float, seed: int, same: bool = False
    ) -> None:
        super().__init__()
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"corrupt.share: {share} is no share; give a number from 0 to 1")
        self.model = model
        generator = np.random.default_rng((seed, len(sample_ids)))
        chosen = np.sort(generator.permutation(len(sample_ids))[: round(share * len(sample_ids))])
        self.ids: Tensor
        self.places: Tensor
        self.register_buffer("ids", sample_ids.sort().values[torch.from_numpy(chosen)])
        places = generator.integers(1, classes, len(chosen))
        self.register_buffer("places", torch.from_numpy(places[:1].repeat(len(chosen)) if same else places))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def wrong(self, sample_id_N: Tensor) -> Tensor:
        """Which samples are corrupted, bool (N,)."""
        return torch.isin(sample_id_N, self.ids)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's signals of batch["input"], with the logits of the chosen samples permuted."""
        if not isinstance(batch, Mapping):
            raise ValueError("a corrupted teacher needs the batch's sample ids: leave its role the view it asks for")
        answer = self.model(batch["input"])
        signals = {"logits": answer} if isinstance(answer, Tensor) else dict(answer)
        logits_NC, sample_id_N = signals["logits"], batch["sample_id"]
        if not len(self.ids):
            return signals
        at_N = torch.searchsorted(self.ids, sample_id_N).clamp(max=len(self.ids) - 1)
        place_N = torch.where(self.ids[at_N] == sample_id_N, self.places[at_N], 0)
        classes = logits_NC.shape[1]
        from_NC = (torch.arange(classes, device=logits_NC.device) + place_N[:, None]) % classes
        return {**signals, "logits": logits_NC.gather(1, from_NC)}
