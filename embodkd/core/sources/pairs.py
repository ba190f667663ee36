"""A data set of things that belong together two by two: images with a text each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from embodkd.core.sources.dataset import DataSet, Items, Spelling, check_tokens
from embodkd.core.sources.source import TensorData


@dataclass(frozen=True)
class Pairs(DataSet):
    """Three parts of images with texts and any number of extra ones.

    Every part has the fields `image` (N, channels, height, width) float32 (or float64), `tokens` (N, T) int64 in
    0..vocabulary-1, `mask` (N, T) bool, true where a token is there (rows are filled up behind the text, and no text is
    empty), `concept` (N,) int64 and `sample_id` (N,) int64. Items of one concept show and name the same: each one's
    text fits the other's image; a concept lies in one part. Where there are `prompts`, `group` (N,) int64 says which of
    them fits each image. ValueError if any of this fails.

    prompts: one text for each group, fields `tokens` (G, T) and `mask` (G, T), by which images are told apart without
    having been trained to; groups: the names of these. spelling: what the tokens were made with.
    """

    train: TensorData
    validation: TensorData
    test: TensorData
    shape: tuple[int, ...]
    vocabulary: int
    extra: Mapping[str, TensorData] = field(default_factory=dict)
    prompts: Mapping[str, Tensor] | None = None
    groups: tuple[str, ...] = ()
    items: Items | None = None
    spelling: Spelling | None = None
    names: tuple[str, ...] | None = None

    kind: ClassVar[str] = "pairs"

    def __post_init__(self) -> None:
        for name, data in self.parts().items():
            self._check(name, data)
        if self.prompts is not None:
            check_tokens("prompts", self.prompts["tokens"], self.prompts.get("mask"), self.vocabulary)
            if self.prompts["tokens"].shape != (len(self.groups), self.length):
                found, wanted = tuple(self.prompts["tokens"].shape), (len(self.groups), self.length)
                raise ValueError(f"prompts: {found} tokens; a row of that length for each group is {wanted}")
        concepts = torch.cat([data.fields["concept"].unique() for data in (self.train, self.validation, self.test)])
        if len(concepts.unique()) != len(concepts):
            raise ValueError("a concept lies in more than one of train, validation and test: what judges was learned")
        self.check_parts()

    @property
    def length(self) -> int:
        """T, how many tokens a row holds."""
        return int(self.train.fields["tokens"].shape[1])

    def facts(self) -> dict[str, Any]:
        """shape, vocabulary and length."""
        return {"shape": tuple(self.shape), "vocabulary": self.vocabulary, "length": self.length}

    def _check(self, name: str, data: TensorData) -> None:
        fields = data.fields
        wanted = ("image", "tokens", "mask", "concept", "sample_id", *(() if self.prompts is None else ("group",)))
        if missing := [n for n in wanted if n not in fields]:
            raise ValueError(f"{name}: lacks the field {' and '.join(missing)}; it has {', '.join(fields)}")
        image = fields["image"]
        if tuple(image.shape[1:]) != tuple(self.shape) or image.dtype not in (torch.float32, torch.float64):
            found = f"{tuple(image.shape[1:])} {image.dtype}"
            raise ValueError(f"{name}: images are {found}, expected {tuple(self.shape)} torch.float32 (or float64)")
        check_tokens(name, fields["tokens"], fields["mask"], self.vocabulary)
        if fields["tokens"].shape[1] != self.length:
            raise ValueError(f"{name}: rows of {fields['tokens'].shape[1]} tokens, those of train have {self.length}")
        mask = fields["mask"]
        if not mask[:, 0].all() or (mask[:, 1:] & ~mask[:, :-1]).any():
            raise ValueError(
                f"{name}: the mask of a text is true from its first token on and false behind its last one"
            )
        for word in ("concept", *(() if self.prompts is None else ("group",))):
            value = fields[word]
            limit = len(self.groups) if word == "group" else torch.inf
            if value.dtype != torch.int64 or value.shape != (data.size(),) or value.min() < 0 or value.max() >= limit:
                found = f"{value.dtype} {tuple(value.shape)} in {value.min()}..{value.max()}"
                raise ValueError(f"{name}: {word} is {found}, expected int64 (N,), at least 0 and below {limit}")
