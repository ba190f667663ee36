"""A term's value at every position of an item, token by token, where it would give one value per item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


def by_position(term: Callable[..., Tensor], *signals: Tensor, **options: Any) -> Tensor:
    """What `term` says of each position as if it were an item: signals (N, T, ...) -> (N, T).

    So `by_position(cross_entropy, logits_NTV, tokens_NT)` is the negative log-likelihood of each token. Positions that
    do not count have values, too: a player's `mass` or a mask leaves them out.
    """
    count, length = signals[0].shape[:2]
    return term(*(signal.flatten(0, 1) for signal in signals), **options).view(count, length)
