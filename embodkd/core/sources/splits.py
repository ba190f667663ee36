"""A data set for learning classes: what is trained on, what chooses, what judges, further pools and tests by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from embodkd.core.sources.dataset import DataSet, Spelling, check_tokens
from embodkd.core.sources.dataset import Items as Items
from embodkd.core.sources.source import TensorData


@dataclass(frozen=True)
class Splits(DataSet):
    """Three labelled parts and any number of extra ones.

    Every part has the fields `input` (N, *shape) float32 (or float64) and `sample_id` (N,) int64, the three splits and
    every labelled extra also `label` (N,) int64 in 0..classes-1; more fields (domain, subclass, ...) are free. A sample
    id belongs to one item of one part: nothing that is trained on can be judged by. ValueError if any of this fails.

    With a `vocabulary` the items are texts: `input` (N, T) int64 in 0..vocabulary-1, and `mask` (N, T) bool says which
    of these tokens are there and which only fill the row.
    extra: unlabelled pools, shifted or corrupted tests, by name. names: of the classes, in the order of their labels.
    """

    train: TensorData
    validation: TensorData
    test: TensorData
    classes: int
    shape: tuple[int, ...]
    extra: Mapping[str, TensorData] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    items: Items | None = None
    vocabulary: int | None = None
    spelling: Spelling | None = None

    kind: ClassVar[str] = "splits"
    counted: ClassVar[str | None] = "classes"

    def __post_init__(self) -> None:
        for name, data in self.parts().items():
            self._check(name, data, labelled=name not in self.extra)
        if self.names is not None and (len(self.names) != self.classes or len(set(self.names)) != self.classes):
            raise ValueError(f"{self.classes} classes need as many different names, got {', '.join(self.names)}")
        self.check_parts()

    def facts(self) -> dict[str, Any]:
        """shape and classes; of texts the vocabulary, too."""
        facts: dict[str, Any] = {"shape": tuple(self.shape), "classes": self.classes}
        return facts if self.vocabulary is None else {**facts, "vocabulary": self.vocabulary}

    def _check(self, name: str, data: TensorData, labelled: bool) -> None:
        fields = data.fields
        missing = [n for n in ("input", "sample_id", *(["label"] if labelled else [])) if n not in fields]
        if missing:
            raise ValueError(f"{name}: lacks the field {' and '.join(missing)}; it has {', '.join(fields)}")
        inputs = fields["input"]
        floats = self.vocabulary is None
        wrong_type = floats and inputs.dtype not in (torch.float32, torch.float64)
        if tuple(inputs.shape[1:]) != tuple(self.shape) or wrong_type:
            found, wanted = f"{tuple(inputs.shape[1:])} {inputs.dtype}", "torch.float32 (or float64)"
            raise ValueError(
                f"{name}: inputs are {found}, expected {tuple(self.shape)} {wanted if floats else 'torch.int64'}"
            )
        if self.vocabulary is not None:
            check_tokens(name, inputs, fields.get("mask"), self.vocabulary)
        label = fields.get("label")
        if label is None:
            return
        if label.dtype != torch.int64 or label.ndim != 1 or label.min() < 0 or label.max() >= self.classes:
            found = f"{label.dtype} of shape {tuple(label.shape)} in {label.min()}..{label.max()}"
            raise ValueError(f"{name}: labels are {found}, expected int64 (N,) in 0..{self.classes - 1}")
