"""Modules whose parameters get more rows or fewer while they learn: splats that are split, rows that are pruned."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

# Parameter -> the ones that it was made of, nearest first, each with the row of it that each own row was (-1: none).
_ORIGINS: WeakIdKeyDictionary = WeakIdKeyDictionary()


def regrown(former: nn.Parameter, rows_N: Tensor, fresh: Tensor | None = None) -> nn.Parameter:
    """A parameter whose row k is row `rows_N[k]` of `former`, or, where that is -1, the next row of `fresh` (or zeros).

    Put in the place of `former` by a step, it takes the rows' moments with it in every optimiser that has `former`; new
    rows begin without. ValueError if a row is not there, or if `fresh` has another shape than the new rows.
    """
    made = nn.Parameter(taken(former.data, rows_N, fresh), former.requires_grad)
    origins = [(weakref.ref(former), rows_N)]
    origins += [(origin, _through(rows, rows_N)) for origin, rows in _ORIGINS.get(former, ()) if origin() is not None]
    _ORIGINS[made] = origins
    return made


def origins(parameter: nn.Parameter) -> list[tuple[nn.Parameter, Tensor]]:
    """The parameters that are still there of those that it was made of, and the row of them that each row was."""
    found = [(origin(), rows) for origin, rows in _ORIGINS.get(parameter, ())]
    return [(origin, rows) for origin, rows in found if origin is not None]


def taken(value: Tensor, rows_N: Tensor, fresh: Tensor | None = None) -> Tensor:
    """Rows `rows_N` of `value` in a new tensor; for -1 the rows of `fresh` in order, or zeros."""
    rows_N = rows_N.to(value.device)
    new_N = rows_N < 0
    if rows_N.ndim != 1 or (len(rows_N) and int(rows_N.max()) >= len(value)):
        raise ValueError(f"rows: expected one list of rows below {len(value)}, or -1 for a new one")
    wanted = (int(new_N.sum()), *value.shape[1:])
    if fresh is not None and tuple(fresh.shape) != wanted:
        raise ValueError(f"rows: the new ones have shape {wanted}, their values {tuple(fresh.shape)}")
    made = value.new_zeros((len(rows_N), *value.shape[1:]))
    made[~new_N] = value[rows_N[~new_N]]
    if fresh is not None:
        made[new_N] = fresh.to(made)
    return made


def _through(first: Tensor, then: Tensor) -> Tensor:
    then = then.to(first.device)
    found = then.new_full(then.shape, -1)
    found[then >= 0] = first[then[then >= 0]].to(found)
    return found


class Growing(nn.Module):
    """A module with things that come and go, of each of which it has one row in the parameters and buffers `per_row`.

    A state with another number of things than there are now is loaded by taking on its number, so that a run goes on
    from a checkpoint whatever the module was when the recipe was written.
    """

    per_row: tuple[str, ...] = ()

    @torch.no_grad()
    def regrow(self, rows_N: Tensor, fresh: Mapping[str, Tensor] | None = None) -> None:
        """Thing k is from now on the former thing `rows_N[k]`, or a new one where that is -1.

        fresh: name -> values of the new things' rows in order; zeros where a name is missing. The moments of those that
        stay stay theirs. ValueError, with nothing changed, for a row that is not there or values of another shape.
        """
        fresh = fresh or {}
        unknown = sorted(set(fresh) - set(self.per_row))
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: {unknown[0]!r} has no row per thing; {', '.join(self.per_row)} have"
            )
        made = {}
        for name in self.per_row:
            former = getattr(self, name)
            make = regrown if isinstance(former, nn.Parameter) else taken
            made[name] = make(former, rows_N, fresh.get(name))
        for name, value in made.items():
            setattr(self, name, value)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.per_row:
            here, there = getattr(self, name), state_dict.get(prefix + name)
            if there is None or here.ndim != there.ndim or here.shape[1:] != there.shape[1:] or len(here) == len(there):
                continue  # torch loads it, or says what is wrong
            empty = torch.empty(there.shape, dtype=here.dtype, device=here.device)
            setattr(self, name, nn.Parameter(empty, here.requires_grad) if isinstance(here, nn.Parameter) else empty)
        super()._load_from_state_dict(state_dict, prefix, *rest)
