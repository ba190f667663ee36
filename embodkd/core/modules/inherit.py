"""Weights inherited by another network of the same kind: chosen layers, and the leading slice of every tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from embodkd.core.modules.identity import Probe, answer, require_same

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Fold:
    """An axis that is several: tensors whose names match `pattern` are sliced along each part of it.

    shape: the parts' lengths in order, -1 where they differ: (3, -1, 64) for query, key and value of heads that are
    64 wide, fused in one tensor; (-1, 64) for whole heads; (12, -1) for twelve heads that become narrower.
    """

    pattern: str
    shape: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Inherited:
    """What a network inherits: its tensors by name, and the names of those that it could not."""

    tensors: dict[str, Tensor]
    left: list[str]


def evenly(source: int, target: int) -> list[int]:
    """Every (source // target)-th layer from layer 0 on: 12 to 6 keeps 0, 2, ... 10; 12 to 9 the first nine."""
    if not 0 < target <= source:
        raise ValueError(f"{target} layers cannot be inherited from {source}")
    return [at * (source // target) for at in range(target)]


def inherited(
    target: State,
    source: State,
    *,
    layers: Mapping[str, Sequence[int]] | None = None,
    folds: Sequence[Fold] = (),
    beyond: Literal["left", "zeros"] = "left",
) -> Inherited:
    """The target's tensors as the source has them.

    layers: name of a list of layers -> for each layer of the target the number of the source's; lists that are not
    named keep their numbers. Each tensor is the leading slice of the source's along every axis, folds first.
    beyond: where the target is the larger one, its tensor is left ("left": listed), or takes zeros there ("zeros").
    A tensor is left also where the source has none of that name, or one with another number of axes.
    """
    tensors, left = {}, []
    for name, own in target.items():
        given = source.get(_source_name(name, layers or {}))
        found = None if given is None or given.ndim != own.ndim else _sliced(name, own, given, folds, beyond)
        if found is None:
            left.append(name)
        else:
            tensors[name] = found.to(own.dtype, copy=True)
    return Inherited(tensors, left)


@torch.no_grad()
def inherit(
    model: nn.Module,
    source: nn.Module,
    *,
    layers: Mapping[str, Sequence[int]] | None = None,
    folds: Sequence[Fold] = (),
    beyond: Literal["left", "zeros"] = "left",
    probe: Probe | None = None,
) -> list[str]:
    """Give `model` what it inherits of `source`, see `inherited`; the names of the tensors that it could not.

    Folds of nn.MultiheadAttention are known, and come after those given. A model of the source's shapes and layers
    answers as the source does, in every bit: asserted on the probe.
    """
    own, theirs = model.state_dict(), source.state_dict()
    found = inherited(own, theirs, layers=layers, folds=[*folds, *multihead_folds(model, source)], beyond=beyond)
    model.load_state_dict(found.tensors, strict=False)
    same = {n: v.shape for n, v in own.items()} == {n: v.shape for n, v in theirs.items()}
    if same and all(list(taken) == list(range(len(taken))) for taken in (layers or {}).values()):
        require_same(answer(source, probe), answer(model, probe), 0.0, "inherit, with the same shapes")
    return found.left


def multihead_folds(model: nn.Module, source: nn.Module) -> list[Fold]:
    """Folds for each nn.MultiheadAttention of a model: whole heads where they are as wide as the source's.

    ValueError where the heads of the two differ both in number and in width.
    """
    widths = {(m.num_heads, m.head_dim) for m in source.modules() if isinstance(m, nn.MultiheadAttention)}
    folds = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.MultiheadAttention):
            continue
        heads: tuple[int, ...] = (-1, module.head_dim)
        if widths and all(module.head_dim != width for _, width in widths):
            if all(module.num_heads != number for number, _ in widths):
                raise ValueError(
                    f"{name}: {module.num_heads} heads of {module.head_dim} cannot be whole heads of the source's "
                    f"(number, width) {sorted(widths)}; keep one of the two"
                )
            heads = (module.num_heads, -1)
        at = re.escape(f"{name}.".lstrip("."))
        folds += [Fold(f"^{at}in_proj_(weight|bias)$", (3, *heads)), Fold(f"^{at}out_proj\\.weight$", heads, axis=1)]
    return folds


def _source_name(name: str, layers: Mapping[str, Sequence[int]]) -> str:
    for stack, taken in layers.items():
        found = re.match(rf"{re.escape(stack)}\.(\d+)(\..*)", name)
        if found is None:
            continue
        if int(found[1]) >= len(taken):
            raise ValueError(f"layers[{stack!r}] names {len(taken)} layers of the source, but there is {name!r}")
        return f"{stack}.{taken[int(found[1])]}{found[2]}"
    return name


def _sliced(name: str, own: Tensor, given: Tensor, folds: Sequence[Fold], beyond: str) -> Tensor | None:
    """The leading slice of `given` in the shape of `own`; None where there is none."""
    for fold in folds:
        if own.shape != given.shape and re.search(fold.pattern, name):
            axis = fold.axis % own.ndim
            for tensor in (own, given):
                _fits(name, tensor, fold, axis)
            found = _sliced("", own.unflatten(axis, fold.shape), given.unflatten(axis, fold.shape), (), beyond)
            return None if found is None else found.flatten(axis, axis + len(fold.shape) - 1)
    if own.shape != given.shape and re.search(r"(in_proj|qkv|c_attn)", name):
        raise ValueError(f"{name!r} looks like fused projections; say how it is sliced, Fold({name!r}, (3, -1, WIDTH))")
    common = tuple(slice(0, min(a, b)) for a, b in zip(own.shape, given.shape, strict=True))
    if given[common].shape == own.shape:
        return given[common]
    if beyond == "left":
        return None
    found = torch.zeros_like(own)
    found[common] = given[common].to(own.dtype)
    return found


def _fits(name: str, tensor: Tensor, fold: Fold, axis: int) -> None:
    known = abs(torch.Size(fold.shape).numel())
    if fold.shape.count(-1) != 1 or tensor.shape[axis] % known:
        raise ValueError(
            f"{name!r}: axis {axis} of {tuple(tensor.shape)} cannot be folded to {fold.shape}: one part is -1, and the "
            "others divide its length"
        )
