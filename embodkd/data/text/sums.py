"""Additions written out column by column, with an exact checker: a task whose answers can be told right from wrong.

    38+47?8+7+0=15,3+4+1=08:85

The prompt ends with "?"; each column, lowest first, adds its digits and what was carried; the answer stands behind ":".
"""

from __future__ import annotations

import re
from typing import Annotated

import numpy as np
import torch

from embodkd.core import TensorData, Texts
from embodkd.core.config.ranges import Count, Seed, Whole, Within
from embodkd.core.sources.dataset import Items
from embodkd.data.registry import DATA
from embodkd.data.text.tokenizer import Tokenizer

ALPHABET = "0123456789+=,:?"
_PROMPT, _ANSWER = re.compile(r"(\d+)\+(\d+)\?"), re.compile(r"[^:]*:(0|[1-9]\d*)")


def trace(a: int, b: int) -> str:
    """How a + b is worked out, up to the answer."""
    columns, carried = [], 0
    for place in range(max(len(str(a)), len(str(b)))):
        x, y = a // 10**place % 10, b // 10**place % 10
        columns.append(f"{x}+{y}+{carried}={x + y + carried:02d}")
        carried = (x + y + carried) // 10
    return f"{','.join(columns)}:{a + b}"


def right(prompt: str, answer: str) -> bool:
    """Whether `answer` ends with the sum that `prompt` asks for, whatever the way there says."""
    asked, given = _PROMPT.fullmatch(prompt), _ANSWER.fullmatch(answer)
    return asked is not None and given is not None and int(asked[1]) + int(asked[2]) == int(given[1])


@DATA.register(
    "sums",
    title="additions written out, with a checker",
    licence="made here",
    kind="texts",
    module="tokenizers",
    extra="language",
)
def sums(
    *,
    seed: Seed = 0,
    digits: Annotated[int, Within(1, 9)] = 3,
    train: Count = 6000,
    validation: Count = 200,
    test: Count = 500,
    pool: Whole = 0,
) -> Texts:
    """Texts of 12 * digits + 4 tokens, one per character, and `end`; no two items ask for the same sum in this order.

    Both numbers have up to `digits` digits, and each pair is as likely as any. pool: so many further items are the
    extra part "pool". ValueError if there are not so many sums.
    """
    sizes = {"test": test, "validation": validation, "train": train, "pool": pool}
    count, rng = 100**digits, np.random.default_rng((seed, 0x5035, digits))
    if sum(sizes.values()) > count // 2:
        asked = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(f"data sums: {asked} of {count} sums; no more than half are drawn: give less, or more digits")
    drawn = np.array(list(dict.fromkeys(rng.integers(count, size=4 * sum(sizes.values()) + 64).tolist())))
    known, length = Tokenizer.characters(ALPHABET), 12 * digits + 4
    ends = np.cumsum(list(sizes.values()))
    parts = {n: drawn[end - size : end] for (n, size), end in zip(sizes.items(), ends, strict=True) if size}
    fields = {name: _part(known, rows, digits, length) for name, rows in parts.items()}
    return Texts(
        train=fields["train"],
        validation=fields["validation"],
        test=fields["test"],
        vocabulary=len(known),
        start=known.start,
        end=known.end,
        pad=known.pad,
        extra={"pool": fields["pool"]} if pool else {},
        items=Items(
            f"sums of {digits} digits",
            {name: torch.from_numpy(rows) for name, rows in parts.items()},
            ("pool",) if pool else (),
        ),
        spelling=known,
        check=right,
    )


def _part(known: Tokenizer, rows: np.ndarray, digits: int, length: int) -> TensorData:
    pairs = [divmod(row, 10**digits) for row in rows.tolist()]
    prompts = known.encode_all([f"{a}+{b}?" for a, b in pairs])
    answers = known.encode_all([trace(a, b) for a, b in pairs])
    whole = [[*prompt, *answer, known.end] for prompt, answer in zip(prompts, answers, strict=True)]
    tokens_NT, length_N = known.filled(whole, length)
    prompt_N, place_T = torch.tensor([len(prompt) for prompt in prompts]), torch.arange(length)
    mask_NT = (place_T >= prompt_N[:, None]) & (place_T < length_N[:, None])
    ids_N = torch.from_numpy(rows)
    return TensorData({"tokens": tokens_NT, "mask": mask_NT, "prompt": prompt_N, "sample_id": ids_N})
