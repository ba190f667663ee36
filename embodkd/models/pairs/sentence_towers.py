"""An image tower beside a frozen model of sentences: texts come as vectors, of which a linear map is learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Depth, Pixels, Positive, Real, Width, Within
from embodkd.core.runs.artefact import golden_unit
from embodkd.models.base import MODELS, library
from embodkd.models.pairs.base import TwoTowers


@MODELS.register("sentence_towers", title="image tower beside frozen sentences (extra: vision)")
class SentenceTowers(TwoTowers):
    """The image tower of `towers`, and a linear map of the field `sentence` (N, sentence) of the data, which a data set
    has with sentences=true: all-MiniLM-L6-v2 gives 384 numbers. The tokens are not read."""

    reads: Any = ("image", "sentence")
    stacks = ("image_tower.vision_model.encoder.layers",)

    def __init__(
        self,
        shape: Sequence[int],
        vocabulary: int,
        length: int,
        *,
        patch: Pixels = 4,
        image_width: Width = 128,
        image_depth: Depth = 6,
        head: Width = 32,
        mlp_ratio: Annotated[float, Within(0.0, 64.0, above=True)] = 2.0,
        joint: Width = 128,
        sentence: Width = 384,
        scale: Annotated[float, Within(1.0, 100.0)] = 14.3,
        mean: Real = 0.5,
        std: Positive = 0.25,
    ) -> None:
        super().__init__(shape, vocabulary, length)
        channels, height, side = self.shape
        if height != side or height % patch or image_width % head:
            raise ValueError(
                f"model sentence_towers: patch={patch} must divide the square image {height} x {side}, head={head} "
                f"the width {image_width}"
            )
        transformers = library("transformers", "sentence_towers")
        config = transformers.CLIPVisionConfig(
            image_size=height,
            patch_size=patch,
            num_channels=channels,
            hidden_size=image_width,
            num_hidden_layers=image_depth,
            num_attention_heads=image_width // head,
            intermediate_size=round(mlp_ratio * image_width),
            hidden_act="gelu",
            projection_dim=joint,
        )
        self.image_tower = transformers.CLIPVisionModelWithProjection(config)
        self.text_map = nn.Linear(sentence, joint)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.sentence, self.mean, self.std = sentence, mean, std

    def log_scale(self) -> nn.Parameter:
        """Its own."""
        return self.logit_scale

    def image_of(self, x: Mapping[str, Tensor]) -> Tensor:
        """Of the class token, (N, D)."""
        found: Tensor = self.image_tower((x["image"] - self.mean) / self.std).image_embeds
        return found

    def text_of(self, x: Mapping[str, Tensor]) -> Tensor:
        """The map of the sentence, (N, D)."""
        found: Tensor = self.text_map(x["sentence"].to(self.text_map.weight))
        return found

    def golden_input(self, rows: int) -> Any:
        """Images in [0, 1), and sentences of such numbers."""
        rest = super().golden_input(rows)
        made = torch.from_numpy(golden_unit((rows, self.sentence)).astype("float32"))
        return {"image": rest["image"], "sentence": made.to(self.text_map.weight)}
