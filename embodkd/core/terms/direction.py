"""Features judged by their length and by where they point, not entry by entry."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from embodkd.core.terms.base import BOUND, TERMS, blank, item_mean, power, same_shape, unit


@TERMS.register("norm_direction", inputs="vectors, vectors, vectors", minimum="none")
def norm_direction(
    value_ND: Tensor,
    target_ND: Tensor,
    direction_ND: Tensor,
    *,
    form: Literal["joint", "direction", "norm"] = "joint",
    detach_target: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """1 - f.e / max(|f|, |t|): f is pulled along the unit vector e of `direction` until it is as long as t.

    Shapes: (N, ..., D) three times -> (N,), averaged over an item's valid positions. In [0, 2]; 0 where f is a multiple
    of e no shorter than t. A shorter f has the gradient -e / |t|; a longer one is judged by its cosine alone, with a
    gradient orthogonal to f. Of t only the length counts, of `direction` only where it points.
    form: "direction" is 1 - cos(f, e) always, "norm" 1 - |f| / max(|f|, |t|); a length 0 in a denominator counts as 1.
    Source: Wang et al. 2023 (arXiv:2305.17007), ND loss; the other two forms are its halves.
    """
    same_shape(value_ND, target_ND, "norm_direction")
    same_shape(value_ND, direction_ND, "norm_direction")
    if form not in ("joint", "direction", "norm"):
        raise ValueError(f"norm_direction: form {form!r} is not one of joint, direction, norm")
    if detach_target:
        target_ND, direction_ND = target_ND.detach(), direction_ND.detach()
    f_ND, t_ND, e_ND = (blank(v, mask) for v in (value_ND, target_ND, direction_ND))
    # In units of f's size, so that no square overflows; a t beyond all measure is far longer than f in any case.
    unit_f_N1, unit_t_N1 = power(f_ND, -1), power(t_ND, -1)
    f_ND, t_ND = f_ND / unit_f_N1, t_ND / unit_t_N1 * (unit_t_N1 / unit_f_N1).clamp(max=1.0)
    own_N = torch.linalg.vector_norm(f_ND, dim=-1)
    wanted_N = torch.linalg.vector_norm(t_ND, dim=-1) * (unit_t_N1 / unit_f_N1).clamp(1.0, BOUND).squeeze(-1)
    longest_N = own_N if form == "direction" else torch.maximum(own_N, wanted_N)
    reached_N = own_N if form == "norm" else (f_ND * unit(e_ND)).sum(-1)
    return item_mean(1.0 - reached_N / torch.where(longest_N > 0, longest_N, 1.0), mask)
