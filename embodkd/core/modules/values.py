"""The values that taps keep: what a layer gave, also where the network writes over it in place later on."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor


class TappedValues:
    """The values of a pass by tap, and the tensors in the network's hands that they are, or are copies of."""

    def __init__(self, unwritten: set[Any], mode: tuple[bool, ...]) -> None:
        # A dropout in place writes in training mode only: what was seen holds for passes of the same mode.
        self.captured: dict[str, Tensor] = {}
        self._unwritten, self._mode = unwritten, mode
        self._watched: dict[str, tuple[Tensor, float, Tensor]] = {}

    def read(self, name: str, tensor: Tensor) -> None:
        """Keep what the network goes on with."""
        self._watch(name, tensor, tensor if self._trusted(name) else tensor.clone())

    def hand(self, name: str, tensor: Tensor) -> Tensor:
        """Keep `tensor`, which may be somebody's; the network goes on with what is returned."""
        handed = tensor if self._trusted(name) else tensor.clone()
        self._watch(name, handed, tensor)
        return handed

    def settle(self) -> None:
        """Drop the copies that nobody needed; ValueError where one would have been needed and there is none."""
        for name, (tensor, version, kept) in self._watched.items():
            if _version(tensor) == version:
                self._unwritten.add((name, *self._mode))
                if self.captured.get(name) is kept:
                    self.captured[name] = tensor
            elif self._trusted(name):
                self._unwritten.discard((name, *self._mode))
                raise ValueError(
                    f"tap {name!r}: in this pass the network wrote over its value in place, which it did not do before "
                    "in this mode, so the value is lost; let the layer behind it work with inplace=False, or repeat "
                    "the pass: from now on the value is copied"
                )

    def _trusted(self, name: str) -> bool:
        return (name, *self._mode) in self._unwritten

    def _watch(self, name: str, tensor: Tensor, kept: Tensor) -> None:
        self.captured[name] = kept
        self._watched[name] = (tensor, _version(tensor), kept)


def _version(tensor: Tensor) -> float:
    """How often a tensor was written to. Not a number, which equals nothing, in inference mode, where none is kept."""
    return math.nan if tensor.is_inference() else tensor._version
