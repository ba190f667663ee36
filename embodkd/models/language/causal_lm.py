"""Transformer language models from transformers: Llama at any size, or a pretrained one of any architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor, nn

from embodkd.core.config.ranges import Depth, Part, Width, Within
from embodkd.core.config.schema import parameters
from embodkd.models.base import MODELS, library
from embodkd.models.language.base import LanguageModel
from embodkd.models.language.pretrained import built, check_vocabulary, described, without_bars
from embodkd.models.language.spelling import as_transformers


@MODELS.register("causal_lm", title="transformer language model (extra: language)")
class CausalLM(LanguageModel):
    """`depth` layers of `width` with `heads` heads and gated MLPs `mlp_ratio` as wide, rotary positions (Llama).

    tied: the head has the embedding's weights. dropout is that of the attention. The i-th layer's output (N, T, width)
    is tapped as `backbone.model.layers.{i}`. The state is the layers' keys and values.
    pretrained: an id of the hub or a folder, in the place of all these; architecture: a config of transformers as plain
    data, which a folder keeps of a pretrained one. Logits are those of the data's tokens, if a model knows more.
    """

    def __init__(
        self,
        vocabulary: int,
        length: int,
        start: int,
        end: int | None,
        *,
        width: Width = 128,
        depth: Depth = 4,
        heads: Width = 4,
        mlp_ratio: Annotated[float, Within(0.0, 64.0, above=True)] = 3.0,
        tied: bool = True,
        dropout: Part = 0.0,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(vocabulary, length, start, end)
        if width % heads or width // heads % 2:
            raise ValueError(f"model causal_lm: heads={heads} must divide width={width} into even parts")
        config = library("transformers", "causal_lm", "language").LlamaConfig(
            vocab_size=vocabulary,
            max_position_embeddings=length + 1,
            hidden_size=width,
            intermediate_size=round(mlp_ratio * width),
            num_hidden_layers=depth,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            attention_dropout=dropout,
            tie_word_embeddings=tied,
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=None,
            # the dropout inside fused attention would depend on how a batch is shared out
            attn_implementation="eager" if dropout else "sdpa",
        )
        self.backbone = built("causal_lm", "AutoModelForCausalLM", config, pretrained, architecture)
        self._outside = pretrained is not None
        # transformers 5.24 has another word for it
        self._cache = "cache" if "cache" in parameters(type(self.backbone).forward) else "past_key_values"
        check_vocabulary("causal_lm", self.backbone.get_input_embeddings(), vocabulary)

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        """The last linear layer."""
        found: nn.Linear = self.backbone.get_output_embeddings()
        return found

    def resolved(self) -> dict[str, Any]:
        """A folder builds a pretrained one from its config."""
        return {"pretrained": None, "architecture": described(self.backbone)} if self._outside else {}

    def forward(self, tokens_NT: Tensor) -> dict[str, Tensor]:
        """{"logits": (N, T, V), "hidden": (N, T, D)}."""
        seen: list[Tensor] = []
        # transformers' own way to give them away changes the model for good
        reader = self.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            found = self.backbone(input_ids=self.shifted(tokens_NT), use_cache=False)
        finally:
            reader.remove()
        return {"logits": found.logits[..., : self.vocabulary], "hidden": seen[0]}

    def next_logits(self, token_NT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """See LanguageModel; the state is changed in its place."""
        read_NT = self.begun(token_NT) if state is None else token_NT
        given = {self._cache: state, "use_cache": True, "logits_to_keep": 1}
        found = self.backbone(input_ids=read_NT, **given)
        return found.logits[:, -1, : self.vocabulary], found[self._cache]

    def export(self, folder: Path, spelling: str | None) -> None:
        """Write what transformers loads by itself: config, weights in its own names, and the tokenizer."""
        transformers = library("transformers", "causal_lm", "language")
        with without_bars(transformers):
            self.backbone.save_pretrained(folder)
        if spelling is not None:
            as_transformers(transformers, spelling, self.start, self.end).save_pretrained(folder)
