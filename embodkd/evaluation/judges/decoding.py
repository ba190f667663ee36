"""Going on with texts token by token: the likeliest ones, or drawn ones that depend on nothing but seed and item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from embodkd.core import item_seeds

Choose = Callable[[Tensor, int], Tensor]
"""(logits (N, V), place) -> the token there, (N,) int64."""


def likeliest(logits_NV: Tensor, place: int) -> Tensor:
    """The token with the largest logit."""
    return logits_NV.argmax(-1)


def by_chance(sample_id_N: Tensor, seed: int) -> Choose:
    """Draws from the softmax at temperature 1; each is a function of (seed, sample id, place) and the logits."""
    ids = sample_id_N.cpu().numpy()

    def choose(logits_NV: Tensor, place: int) -> Tensor:
        uniform_N = torch.from_numpy(item_seeds(seed, place, ids)).double() / 2.0**62
        below_NV = logits_NV.double().softmax(-1).cumsum(-1)
        drawn_N1 = uniform_N.to(below_NV.device)[:, None] * below_NV[:, -1:]
        return torch.searchsorted(below_NV, drawn_N1, right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)

    return choose


@torch.no_grad()
def continued(model: Any, tokens_NT: Tensor, prompt_N: Tensor, choose: Choose, *, end: int | None, pad: int) -> Tensor:
    """Rows that begin with the prompts of `tokens_NT` and go on as `model` chooses: (N, T).

    prompt_N: how many tokens of each row are given. Behind the token `end` a row is filled up with `pad`. The model is
    asked once for every place, by `next_logits`.
    """
    rows_NT, done_N = tokens_NT.clone(), torch.zeros(len(tokens_NT), dtype=torch.bool, device=tokens_NT.device)
    first = int(prompt_N.min())
    logits_NV, state = model.next_logits(tokens_NT[:, :first])
    for place in range(first, tokens_NT.shape[1]):
        given_N = place < prompt_N
        own_N = torch.where(done_N, pad, choose(logits_NV, place))
        rows_NT[:, place] = torch.where(given_N, tokens_NT[:, place], own_N)
        if end is not None:
            done_N = done_N | (~given_N & (own_N == end))
            if bool(done_N.all()):
                rows_NT[:, place + 1 :] = pad
                break
        if place + 1 < tokens_NT.shape[1]:
            logits_NV, state = model.next_logits(rows_NT[:, place : place + 1], state)
    return rows_NT
