"""Answers of a language model to prompts, as rows of the same length."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Decoding, EndToEnd, as_writer, item_seeds


def answered(
    model: Any,
    tokens_NT: Tensor,
    prompt_N: Tensor,
    sample_id_N: Tensor,
    *,
    end: int | None,
    pad: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Rows that begin with the prompts of `tokens_NT` and go on as `model` writes, up to `end` and then `pad`: (N, T).

    prompt_N: how many tokens of each row are given. Temperature 0 takes the likeliest tokens, 1 draws; a draw is a
    function of (seed, sample id, place) and of the model.
    """
    length_N, longest = prompt_N.cpu().numpy(), tokens_NT.shape[1] - int(prompt_N.min())
    prompts = EndToEnd.heads(tokens_NT.cpu().numpy(), length_N)
    decoding = Decoding(longest, temperature, stop=end, batch_size=len(length_N))
    key_N = item_seeds(seed, 0, sample_id_N.cpu().numpy())
    whole = prompts.followed_by(decoding.complete(as_writer(model), prompts, key_N).tokens)
    return torch.from_numpy(whole.padded(np.arange(len(length_N)), pad, tokens_NT.shape[1])[0])
