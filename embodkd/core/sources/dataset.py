"""What data sets of every kind have in common: parts of items, and the facts that a model of such data is built for."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from embodkd.core.config.registry import near
from embodkd.core.sources.source import TensorData

Own = TypeVar("Own", bound="DataSet")


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


class Spelling(Protocol):
    """What turns text into tokens and back, as much as the core asks of it."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without any before or behind it."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; what is no part of a text (start, end, padding) is left out."""
        ...

    def to_json(self) -> str:
        """All of it as tokenizer.json of the library tokenizers: two that say the same are the same."""
        ...


class DataSet(ABC):
    """What is trained on, what chooses, what judges, and further pools and tests by name. Subclasses are frozen
    dataclasses with these fields and their own.

    kind: the word by which methods ask for it, one of KINDS. counted: the fact that says how many logits a model
    gives, None where models give none. Every part has the field `sample_id` (N,) int64. A sample id belongs to one item
    of one part: nothing that is trained on can be judged by.

    names: of what is counted, in the order of the logits; items: which thing each row is; spelling: what the tokens
    of the items were made with. Data in memory may go without; then nobody can tell whether a teacher means the same
    or has seen the test.
    """

    kind: ClassVar[str]
    counted: ClassVar[str | None] = None

    train: TensorData
    validation: TensorData
    test: TensorData
    extra: Mapping[str, TensorData]
    names: tuple[str, ...] | None
    items: Items | None
    spelling: Spelling | None

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The keywords that every model of such data is built with, some of FACTS."""

    def parts(self) -> dict[str, TensorData]:
        """All parts by name: train, validation, test and the extra ones."""
        return {"train": self.train, "validation": self.validation, "test": self.test, **self.extra}

    def part(self, name: str) -> TensorData:
        """The part called `name`; ValueError with the nearest names otherwise."""
        parts = self.parts()
        if name not in parts:
            raise ValueError(f"this data set has no part {name!r}: {near(name, parts)}")
        return parts[name]

    def with_parts(self: Own, parts: Mapping[str, TensorData]) -> Own:
        """The same facts with other items in these parts; which things those are is not known any more."""
        named = {name: parts[name] for name in ("train", "validation", "test")}
        extra = {name: data for name, data in parts.items() if name not in named}
        own: Any = self
        changed: Own = dataclasses.replace(own, **named, extra=extra, items=None)
        return changed

    def check_parts(self) -> None:
        """ValueError for a sample id that occurs twice, or items that are not those of the parts."""
        parts = self.parts()
        ids = torch.cat([data.fields["sample_id"] for data in parts.values()])
        if len(ids.unique()) != len(ids):
            raise ValueError(
                f"{len(ids) - len(ids.unique())} sample ids occur more than once in {', '.join(parts)}: "
                "give each item of the data set its own"
            )
        if self.items is None:
            return
        found = {name: (ids.dtype, tuple(ids.shape)) for name, ids in self.items.rows.items()}
        wanted = {name: (torch.int64, (data.size(),)) for name, data in parts.items()}
        if found != wanted:
            raise ValueError(f"items: give int64 (N,) for each part; expected {wanted}, got {found}")


def check_tokens(name: str, tokens: Tensor, mask: Tensor | None, vocabulary: int) -> None:
    """ValueError unless tokens are int64 (N, T) in 0..vocabulary-1 and their mask is bool (N, T)."""
    if tokens.dtype != torch.int64 or tokens.ndim != 2 or tokens.min() < 0 or tokens.max() >= vocabulary:
        found = f"{tokens.dtype} of shape {tuple(tokens.shape)} in {tokens.min()}..{tokens.max()}"
        raise ValueError(f"{name}: tokens are {found}, expected int64 (N, T) in 0..{vocabulary - 1}")
    if mask is None or mask.dtype != torch.bool or mask.shape != tokens.shape:
        found = "missing" if mask is None else f"{mask.dtype} {tuple(mask.shape)}"
        raise ValueError(f"{name}: mask is {found}, expected torch.bool {tuple(tokens.shape)}, as the tokens have it")
