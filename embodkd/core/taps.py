"""Taps: tensors read from inside a module, or replaced there, by hooks and without editing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from embodkd.core.attention import ScoreReader
from embodkd.core.config.registry import near


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
