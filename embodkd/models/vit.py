"""Vision transformer (Dosovitskiy et al., ICLR 2021) from transformers, at any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from torch import Tensor, nn

from embodkd.core.config.ranges import Depth, Part, Pixels, Width, Within
from embodkd.models.base import MODELS, Classifier, image_shape, library


@MODELS.register("vit", title="vision transformer (extra: vision)")
class ViT(Classifier):
    """Patches of `patch` x `patch` pixels, `depth` layers of `width` with `heads` heads, MLPs `mlp_ratio` as wide.

    Besides `embedding` it gives `tokens` (N, 1 + patches, width): the class token and the patches after the last
    layer norm. `embedding` is the class token, or the patches' mean with pool="mean". The i-th layer's output
    (N, 1 + patches, width) is tapped as `backbone.layers.{i}`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        patch: Pixels = 4,
        width: Width = 64,
        depth: Depth = 4,
        heads: Width = 4,
        mlp_ratio: Annotated[float, Within(0.0, 64.0, above=True)] = 2.0,
        dropout: Part = 0.0,
        pool: Literal["cls", "mean"] = "cls",
    ) -> None:
        super().__init__(shape, classes)
        channels, height, side = image_shape(shape, "vit")
        if height % patch or side % patch or width % heads:
            raise ValueError(
                f"model vit: patch={patch} must divide the image {height} x {side}, heads={heads} the width {width}"
            )
        transformers = library("transformers", "vit")
        config = transformers.ViTConfig(
            image_size=(height, side),
            patch_size=patch,
            num_channels=channels,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=round(mlp_ratio * width),
            hidden_dropout_prob=dropout,
        )
        self.backbone = transformers.ViTModel(config, add_pooling_layer=False)
        self.pool = pool
        self.classifier = nn.Linear(width, classes)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """{"embedding": (N, D), "tokens": (N, T, D)}."""
        tokens_NTD = self.backbone(x).last_hidden_state
        embedding_ND = tokens_NTD[:, 0] if self.pool == "cls" else tokens_NTD[:, 1:].mean(1)
        return {"embedding": embedding_ND, "tokens": tokens_NTD}
