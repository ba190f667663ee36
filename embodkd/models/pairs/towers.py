"""CLIP (Radford et al., ICML 2021) from transformers, at any size: vision transformer and causal text transformer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, Depth, Pixels, Positive, Real, Width, Within
from embodkd.core.modules.axes import take_shapes
from embodkd.core.modules.encoder_gates import encoder_places
from embodkd.core.modules.gates import GatePlace
from embodkd.core.modules.taps import Tap
from embodkd.models.base import MODELS, library
from embodkd.models.language.pretrained import built, check_vocabulary, described
from embodkd.models.pairs.base import TwoTowers


@MODELS.register("towers", title="image and text towers, CLIP (extra: vision)")
class Towers(TwoTowers):
    """Images in patches of `patch` x `patch` pixels, by `image_depth` layers of `image_width`; texts by `text_depth` of
    `text_width`. Heads are `head` wide in both, so that those of a narrower one are the first ones of a wider one. Both
    end in a linear map to `joint` numbers. scale: what multiplies cosines at first.

    The text's answer is that at its last token. Pixels have `mean` taken away and are divided by `std`, the same in all
    channels. pretrained, architecture: as in causal_lm, of a CLIP. pruned: name -> shape of the parameters that lost
    entries since, which a folder keeps.
    """

    stacks = ("backbone.vision_model.encoder.layers", "backbone.text_model.encoder.layers")

    def __init__(
        self,
        shape: Sequence[int],
        vocabulary: int,
        length: int,
        *,
        patch: Pixels = 4,
        image_width: Width = 128,
        image_depth: Depth = 6,
        text_width: Width = 128,
        text_depth: Depth = 4,
        head: Width = 32,
        mlp_ratio: Annotated[float, Within(0.0, 64.0, above=True)] = 2.0,
        joint: Width = 128,
        scale: Annotated[float, Within(1.0, 100.0)] = 14.3,
        mean: Real = 0.5,
        std: Positive = 0.25,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        pruned: Mapping[str, tuple[Count, ...]] | None = None,
    ) -> None:
        super().__init__(shape, vocabulary, length)
        channels, height, side = self.shape
        if height != side or height % patch or image_width % head or text_width % head:
            raise ValueError(
                f"model towers: patch={patch} must divide the square image {height} x {side}, head={head} the widths "
                f"{image_width} and {text_width}"
            )
        transformers = library("transformers", "towers")
        common = {"hidden_act": "gelu", "projection_dim": joint}
        vision = transformers.CLIPVisionConfig(
            image_size=height,
            patch_size=patch,
            num_channels=channels,
            hidden_size=image_width,
            num_hidden_layers=image_depth,
            num_attention_heads=image_width // head,
            intermediate_size=round(mlp_ratio * image_width),
            **common,
        )
        text = transformers.CLIPTextConfig(
            vocab_size=vocabulary,
            max_position_embeddings=length,
            bos_token_id=1,
            eos_token_id=2,
            hidden_size=text_width,
            num_hidden_layers=text_depth,
            num_attention_heads=text_width // head,
            intermediate_size=round(mlp_ratio * text_width),
            **common,
        )
        usual = transformers.CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=joint, logit_scale_init_value=0.0
        )
        self.backbone = built("towers", "CLIPModel", usual, pretrained, architecture)
        self._outside, self.mean, self.std = pretrained is not None, mean, std
        if pretrained is None:
            torch.nn.init.constant_(self.backbone.logit_scale, math.log(scale))
        check_vocabulary("towers", self.backbone.text_model.embeddings.token_embedding, vocabulary)
        if pruned:
            self.take_pruned({name: torch.empty(list(size), device="meta") for name, size in pruned.items()})

    def log_scale(self) -> nn.Parameter:
        """CLIP's own."""
        found: nn.Parameter = self.backbone.logit_scale
        return found

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """What was pruned takes on the shapes of the state first, so that a run goes on after its pruning."""
        self.take_pruned({n: state_dict[prefix + n] for n, _ in self.named_parameters() if prefix + n in state_dict})
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def take_pruned(self, state: Mapping[str, Tensor]) -> None:
        """Give the parameters the shapes in `state` where these are the same, or shorter; their values are lost."""
        own = dict(self.named_parameters())
        less = {
            name: list(value.shape)
            for name, value in state.items()
            if value.ndim == own[name].ndim
            and value.shape != own[name].shape
            and all(a <= b for a, b in zip(value.shape, own[name].shape, strict=True))
        }
        if less:
            take_shapes(self, {n: torch.empty(less.get(n, list(p.shape)), device="meta") for n, p in own.items()})
            self.arguments = {**self.arguments, "pruned": {**(self.arguments.get("pruned") or {}), **less}}

    def resolved(self) -> dict[str, Any]:
        """A folder builds a pretrained one from its config."""
        return {"pretrained": None, "architecture": described(self.backbone)} if self._outside else {}

    def image_of(self, x: Mapping[str, Tensor]) -> Tensor:
        """Of the class token, (N, D)."""
        found = self.backbone.vision_model((x["image"] - self.mean) / self.std).pooler_output
        return self.backbone.visual_projection(found)

    def text_of(self, x: Mapping[str, Tensor]) -> Tensor:
        """Of the last token, (N, D). It sees those before it alone, so what fills a row up need not be hidden."""
        found_NTD = self.backbone.text_model(input_ids=x["tokens"]).last_hidden_state
        last_N = x["mask"].sum(1) - 1
        return self.backbone.text_projection(found_NTD[torch.arange(len(found_NTD), device=last_N.device), last_N])

    def gate_places(self) -> dict[str, GatePlace]:
        """The channels of each tower, and its heads and hidden units in each layer."""
        at = "backbone.vision_model."
        image = encoder_places(
            self,
            f"{at}encoder.layers",
            embeddings=[f"{at}embeddings"],
            into=[f"{at}embeddings.{name}" for name in ("class_embedding", "patch_embedding", "position_embedding")],
            readers=[Tap("backbone.visual_projection", input=True)],
            norms=[f"{at}pre_layrnorm", f"{at}post_layernorm"],
            prefix="image_",
        )
        at = "backbone.text_model."
        text = encoder_places(
            self,
            f"{at}encoder.layers",
            embeddings=[f"{at}embeddings"],
            into=[f"{at}embeddings.{name}" for name in ("token_embedding", "position_embedding")],
            readers=[Tap("backbone.text_projection", input=True)],
            norms=[f"{at}final_layer_norm"],
            prefix="text_",
        )
        return {**image, **text}
