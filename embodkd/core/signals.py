"""Signals: named tensors of one batch, and taps that read them from inside a module without editing it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.attention import ScoreReader
from embodkd.core.registry import near

_SUFFIX = re.compile(r"_([A-Z][A-Z0-9]*)$")


class Signals(Mapping[str, Tensor]):
    """Named tensors: `s["logits"]`, `s.logits`, or `s.logits_NC`, where the suffix states one axis per letter.

    A suffix is checked: reading `logits_NC` of a tensor with three axes is an error. Rows belong together: axis 0 of
    every tensor counts the same items.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None, **more: Tensor) -> None:
        self._tensors: dict[str, Tensor] = {**(tensors or {}), **more}

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__") or name == "_tensors":
            raise AttributeError(name)
        if name in self._tensors:
            return self._tensors[name]
        suffix = _SUFFIX.search(name)
        key = name[: suffix.start()] if suffix else name
        if key not in self._tensors:
            raise AttributeError(f"no signal {key!r}: {near(key, self._tensors)}")
        value = self._tensors[key]
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
        return Signals({name: function(value) for name, value in self._tensors.items()})

    def rows(self, index: slice | Tensor) -> Signals:
        """The items at `index`."""
        return self.map(lambda value: value[index])

    def to(self, device: torch.device | str) -> Signals:
        """All tensors on `device`."""
        return self.map(lambda value: value.to(device, non_blocking=True))

    def merge(self, **more: Tensor) -> Signals:
        """These signals and `more`, which win."""
        return Signals(self._tensors, **more)


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
    modules = dict(model.named_modules())
    if name not in modules:
        title = type(model).__name__
        raise ValueError(f"{title} has no submodule {name!r}: {near(name, [n for n in modules if n])}")
    return modules[name]


@contextmanager
def tapped(model: nn.Module, taps: Mapping[str, str | Tap]) -> Iterator[dict[str, Tensor]]:
    """While open, every forward pass of `model` fills the dictionary with one tensor per tap (the last call's).

    Names must exist (ValueError with the nearest). Hooks are gone afterwards: the model is never changed.
    """
    captured: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, where in taps.items():
            tap = where if isinstance(where, Tap) else Tap(where)
            module = submodule(model, tap.module)
            if tap.attention:
                _read_scores(captured, name, tap, module, hooks)
                continue
            if tap.input:
                handle = module.register_forward_pre_hook(_input_hook(captured, name, tap))
            else:
                handle = module.register_forward_hook(_output_hook(captured, name, tap))
            hooks.callback(handle.remove)
        yield captured


def _read_scores(captured: dict[str, Tensor], name: str, tap: Tap, module: nn.Module, hooks: ExitStack) -> None:
    reader = ScoreReader()

    def before(module: nn.Module, args: Any) -> None:
        reader.scores = None
        reader.__enter__()

    def after(module: nn.Module, args: Any, output: Any) -> None:
        reader.__exit__(None, None, None)
        # None: the forward pass failed, and its own error is the one to see
        if output is not None:
            if reader.scores is None:
                raise ValueError(
                    f"tap {tap.module!r}: a {type(module).__name__} computes no attention; tap the one that does"
                )
            captured[name] = reader.scores

    hooks.callback(module.register_forward_pre_hook(before).remove)
    hooks.callback(module.register_forward_hook(after, always_call=True).remove)


def _output_hook(captured: dict[str, Tensor], name: str, tap: Tap) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        tensor, put_back = _first_tensor(output, tap)
        return put_back(_take(captured, name, tap, tensor)) if tap.replace else _take(captured, name, tap, tensor, None)

    return hook


def _input_hook(captured: dict[str, Tensor], name: str, tap: Tap) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any) -> Any:
        tensor, put_back = _first_tensor(args, tap)
        return put_back(_take(captured, name, tap, tensor)) if tap.replace else _take(captured, name, tap, tensor, None)

    return hook


def _take(captured: dict[str, Tensor], name: str, tap: Tap, tensor: Tensor, answer: Any = ...) -> Any:
    value = tap.replace(tensor) if tap.replace else tensor
    captured[name] = value
    return value if answer is ... else answer


def _first_tensor(value: Any, tap: Tap) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """The tensor in a module's output, and how to put another one in its place."""
    if isinstance(value, Tensor):
        return value, lambda new: new
    if isinstance(value, (tuple, list)) and value and isinstance(value[0], Tensor):
        return value[0], lambda new: type(value)((new, *value[1:]))
    raise ValueError(f"tap {tap.module!r}: the module gives a {type(value).__name__}, not a tensor; tap a part of it")
