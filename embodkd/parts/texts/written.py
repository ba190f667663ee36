"""Texts that a model writes to the prompts of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from embodkd.core import Decoding, EndToEnd, Generated, TensorData, Texts
from embodkd.core.sources.source import Refresh


def prompts_of(part: TensorData, where: str, rows: np.ndarray | None = None) -> EndToEnd:
    """The prompts of a part of `Texts`, or of some of its rows; ValueError where the texts have none."""
    fields = part.fields
    if "prompt" not in fields or int(fields["prompt"].min()) < 1:
        raise ValueError(f"{where}: needs texts that all begin with a prompt (the field prompt, at least one token)")
    tokens_NT, length_N = fields["tokens"].numpy(), fields["prompt"].numpy()
    return EndToEnd.heads(tokens_NT, length_N) if rows is None else EndToEnd.heads(tokens_NT[rows], length_N[rows])


def decoding_of(data: Texts, temperature: float = 1.0, top_p: float = 1.0) -> Decoding:
    """How texts are drawn that are no longer than those of `data`, whatever the prompt."""
    longest = data.length - max(int(part.fields["prompt"].max()) for part in data.parts().values())
    return Decoding(longest, temperature, top_p, data.end, batch_size=256)


def written(
    writer: Any,
    data: Texts,
    part: TensorData,
    *,
    where: str,
    temperature: float = 1.0,
    top_p: float = 1.0,
    responses: int = 1,
    per_refill: int | None = None,
    refresh: Refresh = "never",
    seed: int = 0,
) -> Generated:
    """A source of what `writer` writes to the prompts of a part of `data`; see `Generated`."""
    return Generated(
        writer,
        prompts_of(part, where),
        decoding_of(data, temperature, top_p),
        responses=responses,
        per_refill=per_refill,
        refresh=refresh,
        seed=seed,
        pad=data.pad,
        pad_to="source",
    )
