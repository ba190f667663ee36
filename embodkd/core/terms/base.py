"""What all terms share: their registry, the precision they work in, the mean over an item's valid positions.

A term's value is defined at the edge too: with one class, with classes switched off by -inf, with items in one place
and with features so large that their squares overflow. A value that its type cannot hold, such as the squared error of
1e20 in float32, is infinite; the trainer then says which term it was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from embodkd.core.config.registry import Registry

P = ParamSpec("P")
Result = TypeVar("Result")
Member = TypeVar("Member")

BOUND = 1e30
"""Logits end here. Beyond it lies what is switched off; its probability is exactly 0, and its logarithm still finite
when it is multiplied by a squared temperature."""


def wide(function: Callable[P, Result]) -> Callable[P, Result]:
    """`function` computed in float32 or wider, whatever surrounds it.

    Its floating tensors are lifted to the widest type among them, at least float32, and autocast is off inside.
    """

    @wraps(function)
    def lifted(*args: P.args, **kwargs: P.kwargs) -> Result:
        floats = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and v.is_floating_point()]
        wanted = torch.float64 if any(v.dtype is torch.float64 for v in floats) else torch.float32
        if any(v.dtype is not wanted for v in floats):

            def lift(value: Any) -> Any:
                return value.to(wanted) if isinstance(value, Tensor) and value.is_floating_point() else value

            new: Any = [lift(v) for v in args], {name: lift(v) for name, v in kwargs.items()}
            args, kwargs = new
        device = floats[0].device.type if floats else "cpu"
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return lifted


class Terms(Registry):
    """A registry whose members all compute in float32 or wider."""

    def register(self, name: str, **metadata: Any) -> Callable[[Member], Member]:
        """Decorator that enters a term under `name` and makes it `wide`; ValueError if the name is taken."""
        enter = super().register(name, **metadata)

        def enter_wide(term: Member) -> Member:
            made: Any = wide(cast(Any, term))
            return cast(Member, enter(made))

        return enter_wide


TERMS = Terms("term")
"""Every term, with `inputs=` (what its arguments are) and `minimum=` (its value at student == teacher), which the
conformance tests read: a registered term is a tested term."""


def item_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean over all axes but the first, counting only positions where `mask` is True: (N, ...) -> (N,).

    `mask` has the leading axes of `values`. An item without any valid position gives 0.
    """
    if mask is None:
        return values.flatten(1).mean(1) if values.ndim > 1 else values
    if values.shape[: mask.ndim] != mask.shape:
        raise ValueError(f"mask of shape {tuple(mask.shape)} does not fit values of shape {tuple(values.shape)}")
    wide = widen(mask, values)
    kept = torch.where(wide, values, 0.0).flatten(1).sum(1) if values.ndim > 1 else torch.where(wide, values, 0.0)
    count = wide.expand_as(values).flatten(1).sum(1) if values.ndim > 1 else wide
    return kept / count.clamp(min=1)


def widen(mask: Tensor, like: Tensor) -> Tensor:
    """`mask` as booleans, with trailing axes of length 1 so that it broadcasts against `like`."""
    return mask.bool().reshape(mask.shape + (1,) * (like.ndim - mask.ndim))


def blank(values: Tensor, mask: Tensor | None) -> Tensor:
    """`values` with padding set to 0 before any arithmetic, so that rubbish there (even NaN) sends no gradient."""
    return values if mask is None else torch.where(widen(mask, values), values, 0.0)


def precise(values: Tensor) -> Tensor:
    """Half precision is lifted to float32; float32 and float64 stay."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def log_softmax(logits: Tensor) -> Tensor:
    """log softmax along the last axis, finite where a logit is not; with all of them -inf it is that of equal ones."""
    return torch.log_softmax(bounded(precise(logits)), -1)


def bounded(logits: Tensor) -> Tensor:
    """Logits within +-BOUND, since 0 * -inf would be NaN; NaN stays."""
    return logits.clamp(-BOUND, BOUND)


def power(values: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """The largest power of two that no |value| along `dim` (all axes) is below, 1 where all are 0; no gradient.

    Divided by it, values can be squared and summed without overflow, and no digit of theirs is lost.
    """
    largest = torch.linalg.vector_norm(values.detach(), ord=torch.inf, dim=dim, keepdim=True)
    mantissa = torch.frexp(largest).mantissa
    return torch.where(largest > 0, largest / (2.0 * mantissa), 1.0)


def unit(values: Tensor) -> Tensor:
    """Rows of length 1 along the last axis; a zero row stays zero, and its gradient finite."""
    values = values / power(values, -1)
    size = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return values / torch.where(size > 0, size, 1.0)


def same_shape(a: Tensor, b: Tensor, what: str) -> None:
    """ValueError when two tensors that are compared differ in shape (no silent broadcasting)."""
    if a.shape != b.shape:
        raise ValueError(f"{what}: student has shape {tuple(a.shape)}, target {tuple(b.shape)}; they must agree")
