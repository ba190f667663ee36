"""A classifier of texts: BERT (Devlin et al., NAACL 2019) from transformers, at any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Depth, Part, Width, Within
from embodkd.core.runs.artefact import golden_unit
from embodkd.models.base import MODELS, Classifier, library
from embodkd.models.language.pretrained import built, check_vocabulary, described


@MODELS.register("bert_classifier", title="classifier of texts, BERT (extra: language)")
class BertClassifier(Classifier):
    """`depth` layers of `width` with `heads` heads, MLPs `mlp_ratio` as wide, layer norm behind each part (post-LN).

    It reads the fields `input` (N, T) and `mask` (N, T): who is not there is not attended to. `embedding` is BERT's
    pooled first token, `tokens` (N, T, width) the last layer's output. The i-th layer's output is tapped as
    `backbone.encoder.layer.{i}`, its attention's as `backbone.encoder.layer.{i}.attention.output.dense`.
    pretrained, architecture: as in causal_lm.
    """

    built_for = ("shape", "classes", "vocabulary")
    reads = ("input", "mask")

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        vocabulary: int,
        *,
        width: Width = 128,
        depth: Depth = 4,
        heads: Width = 4,
        mlp_ratio: Annotated[float, Within(0.0, 64.0, above=True)] = 4.0,
        dropout: Part = 0.1,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(shape, classes)
        if len(shape) != 1 or width % heads:
            raise ValueError(
                f"model bert_classifier: reads rows of tokens (T,), got shape {tuple(shape)}"
                if len(shape) != 1
                else f"model bert_classifier: heads={heads} must divide width={width}"
            )
        self.vocabulary = int(vocabulary)
        config = library("transformers", "bert_classifier", "language").BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=round(mlp_ratio * width),
            max_position_embeddings=shape[0],
            type_vocab_size=1,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=None,
            # the dropout inside fused attention would depend on how a batch is shared out
            attn_implementation="eager" if dropout else "sdpa",
        )
        self.backbone = built("bert_classifier", "BertModel", config, pretrained, architecture)
        self._outside = pretrained is not None
        check_vocabulary("bert_classifier", self.backbone.get_input_embeddings(), vocabulary)
        self.classifier = nn.Linear(self.backbone.config.hidden_size, classes)

    def resolved(self) -> dict[str, Any]:
        """A folder builds a pretrained one from its config."""
        return {"pretrained": None, "architecture": described(self.backbone)} if self._outside else {}

    def features(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{"embedding": (N, D), "tokens": (N, T, D)}."""
        found = self.backbone(input_ids=x["input"], attention_mask=x["mask"].to(torch.int64))
        return {"embedding": found.pooler_output, "tokens": found.last_hidden_state}

    def golden_input(self, rows: int) -> Any:
        """Rows of tokens, of which all but the last are there."""
        place = self.classifier.weight.device
        input_NT = torch.from_numpy((golden_unit((rows, *self.shape)) * self.vocabulary).astype("int64")).to(place)
        there_T = torch.arange(self.shape[0], device=place) < max(1, self.shape[0] - 1)
        return {"input": input_NT, "mask": there_T.expand_as(input_NT)}
