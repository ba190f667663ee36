"""Signals: named tensors of one batch, and taps that read them from inside a module without editing it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from embodkd.core.config.registry import near
from embodkd.core.transfer import sent

_SUFFIX = re.compile(r"_([A-Z][A-Z0-9]*)$")


class Signals(Mapping[str, Tensor]):
    """Named tensors: `s["logits"]`, `s.logits`, or `s.logits_NC`, where the suffix states one axis per letter.

    A suffix is checked: reading `logits_NC` of a tensor with three axes is an error. Rows belong together: axis 0 of
    every tensor counts the same items.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None, **more: Tensor) -> None:
        self._tensors: dict[str, Tensor] = {**(tensors or {}), **more}

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__") or name in ("_tensors", "_read"):
            raise AttributeError(name)
        if name in self._tensors:
            return self[name]
        suffix = _SUFFIX.search(name)
        key = name[: suffix.start()] if suffix else name
        if key not in self._tensors:
            raise AttributeError(f"no signal {key!r}: {near(key, self._tensors)}")
        value = self[key]
        if suffix and value.ndim != len(suffix[1]):
            shape = tuple(value.shape)
            raise AttributeError(
                f"signal {key!r} has shape {shape}, but it was read as {name!r}: {len(suffix[1])} axes"
            )
        return value

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise KeyError(f"no signal {name!r}: {near(name, self._tensors)}")
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"Signals({', '.join(f'{k} {tuple(v.shape)}' for k, v in self._tensors.items())})"

    @property
    def items_count(self) -> int:
        """How many items the batch has (length of axis 0)."""
        return next(iter(self._tensors.values())).shape[0]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return next(iter(self._tensors.values())).device

    def map(self, function: Callable[[Tensor], Tensor]) -> Signals:
        """The same names with `function` applied to each tensor."""
        return Signals({name: function(value) for name, value in self._all().items()})

    def rows(self, index: slice | Tensor) -> Signals:
        """The items at `index`."""
        return self.map(lambda value: value[index])

    def to(self, device: torch.device | str) -> Signals:
        """All tensors on `device`; `on_host` still finds what lay in the host's memory."""
        return self.map(lambda value: sent(value, device))

    def merge(self, **more: Tensor) -> Signals:
        """These signals and `more`, which win."""
        return Signals(self._all(), **more)

    def _all(self) -> dict[str, Tensor]:
        return self._tensors


class Watched(Signals):
    """Signals that note which of their names are looked at, absent ones included."""

    def __init__(self, signals: Signals) -> None:
        super().__init__(signals._tensors)
        self._read: dict[str, Tensor | None] = {}

    def __getitem__(self, name: str) -> Tensor:
        self._read[name] = self._tensors.get(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def _all(self) -> dict[str, Tensor]:
        self._read.update(self._tensors)
        return self._tensors

    def holds_for(self, signals: Signals) -> bool:
        """Whether every name that was looked at is the same tensor there, not merely an equal one."""
        return all(signals._tensors.get(name) is value for name, value in self._read.items())
