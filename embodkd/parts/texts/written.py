"""Texts that a model writes to the prompts of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core import Decoding, EndToEnd, Generated, Texts
from embodkd.core.sources.source import Refresh


def prompts_of(fields: Any, rows: Sequence[int] | np.ndarray, where: str) -> EndToEnd:
    """The prompts of these rows of a part of `Texts`; ValueError where the texts have none."""
    if "prompt" not in fields or int(fields["prompt"].min()) < 1:
        raise ValueError(f"{where}: needs texts that all begin with a prompt (the field prompt, at least one token)")
    return EndToEnd.heads(fields["tokens"].numpy()[rows], fields["prompt"].numpy()[rows])


def decoding_of(data: Texts, temperature: float = 1.0, top_p: float = 1.0, batch_size: int = 256) -> Decoding:
    """How texts are drawn that are no longer than those of `data`, whatever the prompt."""
    longest = data.length - max(int(part.fields["prompt"].max()) for part in data.parts().values())
    return Decoding(longest, temperature, top_p, data.end, batch_size)


def written(
    writer: Any,
    data: Texts,
    fields: Any,
    rows: Sequence[int] | np.ndarray,
    *,
    where: str,
    temperature: float = 1.0,
    top_p: float = 1.0,
    responses: int = 1,
    per_refill: int | None = None,
    refresh: Refresh = "never",
    seed: int = 0,
    folder: Path | None = None,
) -> Generated:
    """A source of what `writer` writes to the prompts of these rows; see `Generated`."""
    return Generated(
        writer,
        prompts_of(fields, rows, where),
        decoding_of(data, temperature, top_p),
        responses=responses,
        per_refill=per_refill,
        refresh=refresh,
        seed=seed,
        pad=data.pad,
        pad_to="source",
        folder=folder,
    )
