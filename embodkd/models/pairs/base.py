"""What every model of images with texts is: two towers whose answers lie in one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embodkd.core.modules.gates import GatePlace
from embodkd.core.runs.artefact import golden_unit
from embodkd.models.base import Model, image_shape

GREATEST = 100.0
"""The scale ends here, as CLIP's does."""


class TwoTowers(Model):
    """{"image": (N, C, H, W), "tokens": (N, T), "mask": (N, T)} -> {"image": (N, D), "text": (N, D), ...}.

    Both are of length 1. `scale` (N,) multiplies their cosines, the same for every item; `logits` (N,) is that of an
    item's own two. A member writes `image_of`, `text_of` and `log_scale`.
    stacks: the names of its lists of layers.
    """

    built_for = ("shape", "vocabulary", "length")
    judged_as = "towers"
    reads: Any = ("image", "tokens", "mask")
    stacks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, shape: Sequence[int], vocabulary: int, length: int) -> None:
        super().__init__()
        self.shape = image_shape(shape, type(self).__name__.lower())
        self.vocabulary, self.length = int(vocabulary), int(length)

    def image_of(self, x: Mapping[str, Tensor]) -> Tensor:
        """Of the images, (N, D), of any length."""
        raise NotImplementedError

    def text_of(self, x: Mapping[str, Tensor]) -> Tensor:
        """Of the texts, (N, D), of any length."""
        raise NotImplementedError

    def log_scale(self) -> nn.Parameter:
        """The logarithm of what multiplies cosines, ()."""
        raise NotImplementedError

    def scale(self) -> Tensor:
        """What multiplies cosines, ()."""
        return self.log_scale().exp().clamp(max=GREATEST)

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All signals."""
        image_ND, text_ND = normalize(self.image_of(x), dim=1), normalize(self.text_of(x), dim=1)
        scale_N = self.scale().expand(len(image_ND))
        return {"image": image_ND, "text": text_ND, "scale": scale_N, "logits": scale_N * (image_ND * text_ND).sum(1)}

    def gate_places(self) -> dict[str, GatePlace]:
        """Where gates may stand; ValueError for a model that has no such places."""
        raise ValueError(f"{type(self).__name__} does not say where gates may stand in it")

    def golden_input(self, rows: int) -> Any:
        """Images in [0, 1), and texts of which the last token is not there."""
        place = self.log_scale()
        tokens_NT = torch.from_numpy((golden_unit((rows, self.length)) * self.vocabulary).astype("int64"))
        return {
            "image": torch.from_numpy(golden_unit((rows, *self.shape)).astype(np.float32)).to(place),
            "tokens": tokens_NT.to(place.device),
            "mask": (torch.arange(self.length) < max(1, self.length - 1)).expand(rows, -1).to(place.device),
        }

    def golden_answer(self, logits: Tensor) -> Tensor:
        """One column."""
        return logits[:, None]
