"""Taps: tensors read from inside a module, or replaced there, by hooks and without editing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.config.registry import near
from embodkd.core.modules.attention import ScoreReader


@dataclass(frozen=True)
class Tap:
    """Where a signal is read: the output (or first input) of the submodule with this dotted name.

    `replace`, if given, receives the tensor and what it returns is used by the network from there on.
    attention: read the scores of the attention inside instead, before the softmax and with its mask, (N, H, L, S);
    they can be read, not replaced.
    """

    module: str
    input: bool = False
    replace: Callable[[Tensor], Tensor] | None = None
    attention: bool = False

    def __post_init__(self) -> None:
        if self.attention and (self.input or self.replace is not None):
            raise ValueError(f"tap {self.module!r}: attention scores can be read only, without input and replace")


def submodule(model: nn.Module, name: str) -> nn.Module:
    """The submodule with the dotted `name`; ValueError with the nearest names otherwise."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        known = [n for n, _ in model.named_modules() if n]
        raise ValueError(f"{type(model).__name__} has no submodule {name!r}: {near(name, known)}") from None


@contextmanager
def tapped(
    model: nn.Module, taps: Mapping[str, str | Tap], unwritten: set[Any] | None = None
) -> Iterator[dict[str, Tensor]]:
    """While open, every forward pass of `model` fills the dictionary with one tensor per tap (the last call's).

    A value is what the layer gave, also where the network writes over it in place later on: there it is a copy. Who
    writes is only known at the end, so every value is copied, and the copies that nobody needed are dropped on leaving.
    With `unwritten`, a set that is kept between passes, a value that nobody wrote over is not copied again.
    Names must exist (ValueError with the nearest). Hooks are gone afterwards: the model is never changed.
    """
    values = _Values(set() if unwritten is None else unwritten, (model.training, torch.is_grad_enabled()))
    with ExitStack() as hooks:
        for name, where in taps.items():
            tap = where if isinstance(where, Tap) else Tap(where)
            module = submodule(model, tap.module)
            if tap.attention:
                _read_scores(values, name, tap, module, hooks)
                continue
            if tap.input:
                handle = module.register_forward_pre_hook(_input_hook(values, name, tap))
            else:
                handle = module.register_forward_hook(_output_hook(values, name, tap))
            hooks.callback(handle.remove)
        yield values.captured
    values.settle()


class _Values:
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


def _read_scores(values: _Values, name: str, tap: Tap, module: nn.Module, hooks: ExitStack) -> None:
    reader = ScoreReader(lambda scores: values.read(name, scores))

    def before(module: nn.Module, args: Any) -> None:
        reader.found = False
        reader.__enter__()

    def after(module: nn.Module, args: Any, output: Any) -> None:
        reader.__exit__(None, None, None)
        # None: the forward pass failed, and its own error is the one to see
        if output is not None and not reader.found:
            raise ValueError(
                f"tap {tap.module!r}: a {type(module).__name__} computes no attention; tap the one that does"
            )

    hooks.callback(module.register_forward_pre_hook(before).remove)
    hooks.callback(module.register_forward_hook(after, always_call=True).remove)


def _output_hook(values: _Values, name: str, tap: Tap) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        return _take(values, name, tap, output)

    return hook


def _input_hook(values: _Values, name: str, tap: Tap) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any) -> Any:
        return _take(values, name, tap, args)

    return hook


def _take(values: _Values, name: str, tap: Tap, given: Any) -> Any:
    """Keep the tensor in what a module is given or gives; None, or what the network is to go on with."""
    tensor, put_back = _first_tensor(given, tap)
    if tap.replace is None:
        return values.read(name, tensor)
    return put_back(values.hand(name, tap.replace(tensor)))


def _first_tensor(value: Any, tap: Tap) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """The tensor in a module's output, and how to put another one in its place."""
    if isinstance(value, Tensor):
        return value, lambda new: new
    if isinstance(value, (tuple, list)) and value and isinstance(value[0], Tensor):
        return value[0], lambda new: type(value)((new, *value[1:]))
    raise ValueError(f"tap {tap.module!r}: the module gives a {type(value).__name__}, not a tensor; tap a part of it")
