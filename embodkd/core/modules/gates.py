"""Gates: factors in [0, 1] on channels, heads or hidden units of a network, learned as it learns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.modules.axes import Axis, axes
from embodkd.core.modules.hard_concrete import HardConcrete
from embodkd.core.modules.identity import Probe, answer, require_same
from embodkd.core.modules.places import submodule
from embodkd.core.modules.taps import Tap, hook_at

Side = str | Tap


@dataclass(frozen=True)
class GatePlace:
    """Where the gates of one set stand, and what fusing does there.

    at: the submodules whose output, or with Tap(..., input=True) input, is multiplied along `axis`, counted from the
    end (-3: the channels of pictures).
    into: the sides (see `axes`) whose weights are multiplied by the gates and cut when fused; those of `at` unless
    said, which is needed where `at` names a module that is no single layer (an embedding of several parts).
    cut: the sides that lose the same channels without being multiplied: what reads them, or makes them for `at`.
    norms: LayerNorms over these channels, which then normalise over the open ones only, and give zeros at the others.
    each: how many neighbouring channels one gate has: the width of a head.
    """

    at: Sequence[Side]
    cut: Sequence[Side] = ()
    into: Sequence[Side] | None = None
    norms: Sequence[str] = ()
    axis: int = -1
    each: int = 1

    def multiplied(self, model: nn.Module) -> list[Axis]:
        """The axes that take the gates when they are fused."""
        return [axis for side in (self.at if self.into is None else self.into) for axis in axes(model, side)]

    def only_cut(self, model: nn.Module) -> list[Axis]:
        """The axes that lose entries and are otherwise left."""
        return [axis for side in (*self.cut, *self.norms) for axis in axes(model, side)]

    def size(self, model: nn.Module) -> int:
        """How many gates there are; ValueError where the sides disagree."""
        multiplied, others = self.multiplied(model), self.only_cut(model)
        twice = {(axis.tensor, axis.number) for axis in multiplied} & {(axis.tensor, axis.number) for axis in others}
        if self.axis >= 0:
            raise ValueError(f"the axis of gates is counted from the end, got {self.axis}")
        if twice:
            shape = tuple(next(iter(twice))[0].shape)
            raise ValueError(f"a parameter of shape {shape} makes gated channels and reads them: untie its two users")
        found = {axis.tensor.shape[axis.number] for axis in (*multiplied, *others)}
        if len(found) != 1 or next(iter(found)) % self.each:
            raise ValueError(f"gates in groups of {self.each} stand on sides with {sorted(found)} channels: {self}")
        return next(iter(found)) // self.each


class Gated(nn.Module):
    """A model with gates: it answers as the model whose channels are multiplied by what the gates give.

    places: name -> `GatePlace`; start: the logits of all gates, or by name. The model's parameters lie below `model.`,
    the logits below `gates.NAME.`. In training mode gates are drawn in each forward pass, in evaluation mode they are
    fixed. With all gates at one it answers as the model does: asserted on the probe, within 1e-5.
    """

    def __init__(
        self,
        model: nn.Module,
        places: Mapping[str, GatePlace],
        *,
        start: float | Mapping[str, Tensor] = 10.0,
        probe: Probe | None = None,
    ) -> None:
        super().__init__()
        self.model, self.places = model, dict(places)
        starts = start if isinstance(start, Mapping) else dict.fromkeys(places, start)
        self.gates = nn.ModuleDict({n: HardConcrete(p.size(model), starts[n]) for n, p in places.items()})
        for place in places.values():
            for name in place.norms:
                if type(submodule(model, name)) is not nn.LayerNorm:
                    raise ValueError(f"{name!r} is no LayerNorm: only those can leave channels out")
        if hasattr(model, "reads"):
            self.reads = model.reads
        if probe is not None:
            ones = {name: torch.ones_like(gate.logits) for name, gate in self.hard_concrete()}
            masked = answer(_At(self, ones), probe)
            require_same(answer(model, probe), masked, 1e-5, "gates, all at one")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's answer with these gates."""
        return self.masked({name: gate() for name, gate in self.gates.items()}, *args, **kwargs)

    def masked(self, masks: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        """The model's answer with the given gates, name -> (size,)."""
        with ExitStack() as hooks:
            for name, place in self.places.items():
                z = masks[name].repeat_interleave(place.each)
                times = _times(z.reshape(-1, *[1] * (-1 - place.axis)))
                for side in place.at:
                    tap = replace(Tap(side) if isinstance(side, str) else side, replace=times)
                    hooks.callback(hook_at(submodule(self.model, tap.module), tap, times).remove)
                for at in place.norms:
                    norm = submodule(self.model, at)
                    hooks.callback(norm.register_forward_hook(_over_open(z > 0)).remove)
            return self.model(*args, **kwargs)

    def expected(self, prefix: str = "") -> Tensor:
        """The expected number of parameters that stay, of those that can be cut; with gradient to the logits.

        prefix: only the parameters of which a gate so called takes entries out (one tower of two).
        """
        kept = {name: gate.alive().sum() * self.places[name].each for name, gate in self.hard_concrete()}
        counted = [self._product(tensor, axes, kept) for tensor, axes in self._gated(prefix).items()]
        return torch.stack(counted).sum()

    def prunable(self, prefix: str = "") -> int:
        """The number of parameters that can be cut, all of them: `expected` with every gate open."""
        return sum(tensor.numel() for tensor in self._gated(prefix))

    def clamp_(self) -> None:
        """Keep all logits within +-log 100: after each update."""
        for _, gate in self.hard_concrete():
            gate.clamp_()

    def hard_concrete(self) -> Iterator[tuple[str, HardConcrete]]:
        """The gates with their names."""
        for name, gate in self.gates.items():
            assert isinstance(gate, HardConcrete)
            yield name, gate

    def _gated(self, prefix: str) -> dict[nn.Parameter, dict[int, str]]:
        found: dict[nn.Parameter, dict[int, str]] = {}
        for name, place in self.places.items():
            for axis in (*place.multiplied(self.model), *place.only_cut(self.model)):
                found.setdefault(axis.tensor, {})[axis.number] = name
        return {tensor: names for tensor, names in found.items() if any(n.startswith(prefix) for n in names.values())}

    @staticmethod
    def _product(tensor: nn.Parameter, names: dict[int, str], kept: Mapping[str, Tensor]) -> Tensor:
        free = math.prod(length for axis, length in enumerate(tensor.shape) if axis not in names)
        return free * torch.stack([kept[name] for name in names.values()]).prod()


class _At(nn.Module):
    """A gated model at fixed gates."""

    def __init__(self, gated: Gated, masks: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.gated, self._masks = gated, masks

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the gated model's."""
        return self.gated.masked(self._masks, *args, **kwargs)


def _times(z: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor * z.to(tensor.dtype)


def _over_open(open_gates: Tensor) -> Callable[..., Tensor]:
    """LayerNorm over the open channels only, zeros at the others."""

    def after(norm: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x, live = args[0], open_gates.to(args[0].dtype)
        count = live.sum().clamp(min=1.0)
        centred = (x - (x * live).sum(-1, keepdim=True) / count) * live
        scaled = centred * torch.rsqrt(centred.square().sum(-1, keepdim=True) / count + norm.eps)
        scaled = scaled if norm.weight is None else scaled * norm.weight
        return scaled if norm.bias is None else (scaled + norm.bias) * live

    return after
