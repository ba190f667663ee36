"""A data set for learning: what is trained on, what chooses, what judges, and further pools and tests by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from embodkd.core.config.registry import near
from embodkd.core.sources.source import TensorData


@dataclass(frozen=True)
class Items:
    """Which thing of which source each row is, whatever seed and options drew it.

    source: what the numbers count in; two data sets that are drawn from one source share its name. rows: part -> int64
    (N,), the same number for the same thing and its altered copies, negative for what was made up (noise). pools: the
    extra parts that may be learned from; the others only judge.
    """

    source: str
    rows: Mapping[str, Tensor]
    pools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """Three labelled parts and any number of extra ones.

    Every part has the fields `input` (N, *shape) float32 (or float64) and `sample_id` (N,) int64, the three splits and
    every labelled extra also `label` (N,) int64 in 0..classes-1; more fields (domain, subclass, ...) are free. A sample
    id belongs to one item of one part: nothing that is trained on can be judged by. ValueError if any of this fails.

    extra: unlabelled pools, shifted or corrupted tests, by name. names: of the classes, in the order of their labels;
    items: which thing each row is. Data in memory may go without both; then nobody can tell whether a teacher means the
    same classes or has seen the test.
    """

    train: TensorData
    validation: TensorData
    test: TensorData
    classes: int
    shape: tuple[int, ...]
    extra: Mapping[str, TensorData] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    items: Items | None = None

    def __post_init__(self) -> None:
        parts = self.parts()
        for name, data in parts.items():
            self._check(name, data, labelled=name not in self.extra)
        ids = torch.cat([data.fields["sample_id"] for data in parts.values()])
        if len(ids.unique()) != len(ids):
            raise ValueError(
                f"{len(ids) - len(ids.unique())} sample ids occur more than once in {', '.join(parts)}: "
                "give each item of the data set its own"
            )
        self._check_identity()

    def parts(self) -> dict[str, TensorData]:
        """All parts by name: train, validation, test and the extra ones."""
        return {"train": self.train, "validation": self.validation, "test": self.test, **self.extra}

    def part(self, name: str) -> TensorData:
        """The part called `name`; ValueError with the nearest names otherwise."""
        parts = self.parts()
        if name not in parts:
            raise ValueError(f"this data set has no part {name!r}: {near(name, parts)}")
        return parts[name]

    def _check_identity(self) -> None:
        if self.names is not None and (len(self.names) != self.classes or len(set(self.names)) != self.classes):
            raise ValueError(f"{self.classes} classes need as many different names, got {', '.join(self.names)}")
        if self.items is None:
            return
        found = {name: (ids.dtype, tuple(ids.shape)) for name, ids in self.items.rows.items()}
        wanted = {name: (torch.int64, (data.size(),)) for name, data in self.parts().items()}
        if found != wanted:
            raise ValueError(f"items: give int64 (N,) for each part; expected {wanted}, got {found}")

    def _check(self, name: str, data: TensorData, labelled: bool) -> None:
        fields = data.fields
        missing = [n for n in ("input", "sample_id", *(["label"] if labelled else [])) if n not in fields]
        if missing:
            raise ValueError(f"{name}: lacks the field {' and '.join(missing)}; it has {', '.join(fields)}")
        inputs = fields["input"]
        if tuple(inputs.shape[1:]) != tuple(self.shape) or inputs.dtype not in (torch.float32, torch.float64):
            found = f"{tuple(inputs.shape[1:])} {inputs.dtype}"
            raise ValueError(f"{name}: inputs are {found}, expected {tuple(self.shape)} torch.float32 (or float64)")
        label = fields.get("label")
        if label is None:
            return
        if label.dtype != torch.int64 or label.ndim != 1 or label.min() < 0 or label.max() >= self.classes:
            found = f"{label.dtype} of shape {tuple(label.shape)} in {label.min()}..{label.max()}"
            raise ValueError(f"{name}: labels are {found}, expected int64 (N,) in 0..{self.classes - 1}")
