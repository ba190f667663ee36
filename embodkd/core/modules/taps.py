"""Taps: tensors read from inside a module, or replaced there, by hooks and without editing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from embodkd.core.modules.attention import STAGES, AttentionMode, Stage, Visit
from embodkd.core.modules.places import in_call, inputs, submodule, within
from embodkd.core.signals import Signals


@dataclass(frozen=True)
class Tap:
    """Where a signal is read: the output of the submodule with this dotted name, or one of its inputs.

    input: True reads its first positional input; a name reads that parameter of its forward pass, however it is given.
    part: the element of a tuple (a number) or mapping (a key) to read; without it a tuple's first tensor is read.
    attention: read a stage of the attention inside instead, one of "scores" (also True), "probs", "weights" and
    "context", see `AttentionMode`.
    replace: gets the tensor, and what it returns is used by the network from there on (and is the signal).
    replace_from: the same from the batch of this pass too, `replace_from(tensor, batch)`: an earlier answer
    (`batch["t.probs"]`), a scheduled number.
    """

    module: str
    input: bool | str = False
    replace: Callable[[Tensor], Tensor] | None = None
    attention: bool | Stage = False
    part: int | str | None = None
    replace_from: Callable[[Tensor, Signals], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.attention is not True and self.attention and self.attention not in STAGES:
            raise ValueError(f"tap {self.module!r}: attention {self.attention!r} is not one of {', '.join(STAGES)}")
        if self.attention and (self.input or self.part is not None):
            raise ValueError(f"tap {self.module!r}: a stage of attention is no input and has no parts")
        if self.replace is not None and self.replace_from is not None:
            raise ValueError(f"tap {self.module!r}: replace or replace_from, not both")

    @property
    def replaces(self) -> bool:
        """Whether the network goes on with something else."""
        return self.replace is not None or self.replace_from is not None

    @property
    def stage(self) -> Stage:
        """The stage of attention that is meant."""
        return "scores" if isinstance(self.attention, bool) else self.attention

    def replacement(self, tensor: Tensor, batch: Signals | None) -> Tensor:
        """What the network goes on with."""
        if self.replace is not None:
            return self.replace(tensor)
        assert self.replace_from is not None
        if batch is None:
            raise ValueError(f"tap {self.module!r}: replace_from reads the batch, and this pass was given none")
        return self.replace_from(tensor, batch)


@contextmanager
def tapped(
    model: nn.Module,
    taps: Mapping[str, str | Tap],
    unwritten: set[Any] | None = None,
    batch: Signals | None = None,
) -> Iterator[dict[str, Tensor]]:
    """While open, every forward pass of `model` fills the dictionary with one tensor per tap (the last call's).

    A value is what the layer gave, also where the network writes over it in place later on: there it is a copy. Who
    writes is only known at the end, so every value is copied, and the copies that nobody needed are dropped on leaving.
    With `unwritten`, a set that is kept between passes, a value that nobody wrote over is not copied again.
    batch: what `replace_from` reads.
    Names must exist (ValueError with the nearest). Hooks are gone afterwards: the model is never changed.
    """
    values = _Values(set() if unwritten is None else unwritten, (model.training, torch.is_grad_enabled()), batch)
    attending: dict[nn.Module, list[tuple[Tap, Visit]]] = {}
    with ExitStack() as hooks:
        for name, where in taps.items():
            tap = where if isinstance(where, Tap) else Tap(where)
            module, take = submodule(model, tap.module), values.taker(name, tap)
            if tap.attention:
                attending.setdefault(module, []).append((tap, take))
            else:
                hooks.callback(hook_at(module, tap, take).remove)
        for module, visits in attending.items():
            _attend(module, visits, hooks)
        yield values.captured
    values.settle()


def hook_at(module: nn.Module, tap: Tap, take: Visit) -> RemovableHandle:
    """Show `take` the tensor at a tap in every pass, until the hook is removed.

    Where the tap replaces, the network goes on with what `take` returns.
    """
    if tap.input:
        return module.register_forward_pre_hook(_input_hook(module, tap, take), with_kwargs=True)
    return module.register_forward_hook(_output_hook(tap, take))


class _Values:
    """The values of a pass by tap, and the tensors in the network's hands that they are, or are copies of."""

    def __init__(self, unwritten: set[Any], mode: tuple[bool, ...], batch: Signals | None) -> None:
        # A dropout in place writes in training mode only: what was seen holds for passes of the same mode.
        self.captured: dict[str, Tensor] = {}
        self._unwritten, self._mode, self._batch = unwritten, mode, batch
        self._watched: dict[str, tuple[Tensor, float, Tensor]] = {}

    def taker(self, name: str, tap: Tap) -> Visit:
        """What keeps the tensor of a tap and returns the one that the network goes on with."""

        def take(tensor: Tensor) -> Tensor:
            if tap.replaces:
                return self.hand(name, tap.replacement(tensor, self._batch))
            self.read(name, tensor)
            return tensor

        return take

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


def _attend(module: nn.Module, visits: Sequence[tuple[Tap, Visit]], hooks: ExitStack) -> None:
    at: dict[Stage, list[Visit]] = {}
    for tap, take in visits:
        at.setdefault(tap.stage, []).append(take)
    mode = AttentionMode(at, {tap.stage for tap, _ in visits if tap.replaces})

    def before(module: nn.Module, args: Any) -> None:
        mode.start()

    def after(module: nn.Module, args: Any, output: Any) -> None:
        mode.__exit__(None, None, None)
        missing = [stage for stage in STAGES if stage in at and stage not in mode.found]
        # None: the forward pass failed, and its own error is the one to see
        if output is not None and missing:
            what = f"computes no {' and no '.join(missing)} of an" if mode.found else "computes no"
            raise ValueError(
                f"tap {visits[0][0].module!r}: a {type(module).__name__} {what} attention; tap the one that does"
            )

    hooks.callback(module.register_forward_pre_hook(before).remove)
    hooks.callback(module.register_forward_hook(after, always_call=True).remove)


def _output_hook(tap: Tap, take: Visit) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        tensor, put = within(output, tap.part, f"tap {tap.module!r}")
        new = take(tensor)
        return put(new) if tap.replaces else None

    return hook


def _input_hook(module: nn.Module, tap: Tap, take: Visit) -> Callable[..., Any]:
    where = f"tap {tap.module!r}"
    name = tap.input if isinstance(tap.input, str) else None
    order = [] if name is None else inputs(module, name, where)

    def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
        value, put_value = in_call(args, kwargs, name, order, where)
        tensor, put = within(value, tap.part, where)
        new = take(tensor)
        return put_value(put(new)) if tap.replaces else None

    return hook
