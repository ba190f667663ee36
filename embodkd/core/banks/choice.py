"""What a bank keeps of a batch: which signals, how much of the logits, which positions, and how they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from embodkd.core.signals import Signals
from embodkd.core.terms.base import precise

Values = Literal["float32", "float16"]

RECORDS = "records"
# numpy has no such numbers: their bits lie as whole numbers of the same size
_PATTERNS = {torch.bfloat16: torch.int16}
_PATTERNS |= {t: torch.uint8 for name, t in vars(torch).items() if name.startswith("float8_")}


@dataclass(frozen=True)
class SignalColumn:
    """One signal as it lies: in which file, of which type it is given back, and for which mask's positions."""

    name: str
    file: str
    dtype: str
    mask: str = ""

    def __post_init__(self) -> None:
        if not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise ValueError(f"{self.name}: {self.dtype!r} is no type of numbers")

    def tensor(self, rows: np.ndarray) -> Tensor:
        """The signal from rows of its file."""
        values = torch.from_numpy(rows[self.name].copy() if rows.dtype.names else rows)
        dtype = getattr(torch, self.dtype)
        return values.view(dtype) if dtype in _PATTERNS else values.to(dtype)


@dataclass(frozen=True)
class Kept:
    """Rows of some items: `files` name -> rows, of the items or of their valid positions; `counts` mask -> (N,)."""

    columns: tuple[SignalColumn, ...]
    files: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]
    ids: np.ndarray


@dataclass(frozen=True)
class Choice:
    """names, top_k, values, lengths and replay as `Bank` has them."""

    names: tuple[str, ...]
    top_k: int | None
    values: Values
    lengths: Mapping[str, str]
    replay: str | None

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        top_k: int | None,
        values: Values,
        lengths: str | Mapping[str, str] | None,
        replay: str | None,
    ) -> Choice:
        """From the short forms; ValueError for what cannot be kept."""
        if isinstance(lengths, str):
            lengths = dict.fromkeys(names, lengths)
        found = cls(tuple(names), top_k, values, dict(lengths or {}), replay)
        if top_k is not None and not any(map(_is_logits, names)):
            raise ValueError("bank.top_k keeps the largest logits, so names must contain 'logits'")
        if top_k is not None and top_k < 1:
            raise ValueError(f"bank.top_k: must be at least 1, got {top_k}")
        if values not in ("float32", "float16"):
            raise ValueError(f"bank.values: must be float32 or float16, got {values!r}")
        if values != "float32" and top_k is None:
            raise ValueError("bank.values says how the top_k probabilities are kept; signals keep their own type")
        if unknown := sorted(found.lengths.keys() - set(names)):
            raise ValueError(f"bank.lengths: {', '.join(unknown)} is not among the names that are kept")
        return found

    def mark(self) -> str:
        """In words, for a bank's fingerprint."""
        lengths = ",".join(f"{name}:{mask}" for name, mask in sorted(self.lengths.items()))
        kept = f"{','.join(self.names)} top_k={self.top_k} values={self.values}"
        return f"{kept} lengths={lengths} replay={self.replay}"

    def __call__(self, piece: Signals) -> Kept:
        """What is kept of these items, which have all signals and fields, on the CPU."""
        arrays: dict[SignalColumn, np.ndarray] = {}
        for name in self.names:
            mask = self.lengths.get(name, "")
            value = positions(piece[name], piece[mask], name, mask) if mask else piece[name]
            if self.top_k is not None and _is_logits(name):
                arrays |= self._largest(name.removesuffix("logits"), value, mask)
            else:
                arrays[_column(name, name, value, mask)] = _array(value)
        if self.replay is not None:
            seeds_N = piece[self.replay]
            file = RECORDS if any(column.file == RECORDS for column in arrays) else self.replay
            arrays[_column(self.replay, file, seeds_N)] = _array(seeds_N)
        masks = dict.fromkeys(self.lengths.values())
        counts = {mask: piece[mask].bool().flatten(1).sum(1).numpy() for mask in masks}
        return Kept(tuple(arrays), _packed(arrays), counts, piece["sample_id"].numpy())

    def _largest(self, prefix: str, logits_NC: Tensor, mask: str) -> dict[SignalColumn, np.ndarray]:
        assert self.top_k is not None
        classes, file = logits_NC.shape[-1], f"{RECORDS}.{mask}" if mask else RECORDS
        probs_NK, index_NK = precise(logits_NC).softmax(-1).topk(min(self.top_k, classes))
        probs_NK = probs_NK.half() if self.values == "float16" else probs_NK
        small = index_NK.numpy().astype(np.min_scalar_type(classes - 1))
        return {
            _column(f"{prefix}probs", file, probs_NK, mask): _array(probs_NK),
            _column(f"{prefix}index", file, index_NK, mask): small,
        }


def positions(value: Tensor, mask: Tensor, name: str, by: str) -> Tensor:
    """The valid positions of all items one after the other, (N, T, ...) -> (M, ...)."""
    if mask.ndim != 2 or value.shape[:2] != mask.shape:
        raise ValueError(
            f"bank.lengths: {name} has shape {tuple(value.shape)}, and its mask {by} {tuple(mask.shape)}, which must "
            "be (N, T), the first two axes of both"
        )
    return value[mask.bool()]


def _is_logits(name: str) -> bool:
    return name.rpartition(".")[2] == "logits"


def _column(name: str, file: str, value: Tensor, mask: str = "") -> SignalColumn:
    return SignalColumn(name, file, str(value.dtype).removeprefix("torch."), mask)


def _array(value: Tensor) -> np.ndarray:
    pattern = _PATTERNS.get(value.dtype)
    return (value if pattern is None else value.contiguous().view(pattern)).numpy()


def _packed(arrays: Mapping[SignalColumn, np.ndarray]) -> dict[str, np.ndarray]:
    """File -> rows; what shares a file lies side by side in records without gaps."""
    files = {c.file: rows for c, rows in arrays.items() if not c.file.startswith(RECORDS)}
    for file in dict.fromkeys(c.file for c in arrays if c.file.startswith(RECORDS)):
        own = {c.name: np.ascontiguousarray(rows) for c, rows in arrays.items() if c.file == file}
        dtype = np.dtype([(name, rows.dtype, rows.shape[1:]) for name, rows in own.items()])
        files[file] = np.empty(len(next(iter(own.values()))), dtype)
        for name, rows in own.items():
            files[file][name] = rows
    return files
