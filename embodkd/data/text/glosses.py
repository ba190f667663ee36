"""WordNet's definitions as texts: the first tokens of one are a prompt, the next ones are to follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

import numpy as np
import torch

from embodkd.core import TensorData, Texts
from embodkd.core.config.ranges import Count, Seed, Whole, Within
from embodkd.core.sources.dataset import Items
from embodkd.data.registry import DATA
from embodkd.data.text.tokenizer import Tokenizer
from embodkd.data.text.wordnet import SOURCE, definitions

Vocabulary = Annotated[int, Within(300, 65536)]
"""Of byte-level BPE: special tokens, all bytes, and some that are found."""
_AT_ONCE = 4096


@DATA.register(
    "glosses",
    title="definitions of English words to go on with",
    licence="WordNet 3.0",
    kind="texts",
    asset="wordnet",
    installed="/usr/share/wordnet",
    module="tokenizers",
    extra="language",
)
def glosses(
    *,
    seed: Seed = 0,
    train: Count = 8000,
    validation: Count = 500,
    test: Count = 1000,
    pool: Whole = 0,
    prompt: Whole = 4,
    response: Count = 12,
    ended: bool = False,
    vocabulary: Vocabulary = 512,
    tokenizer: str | None = None,
) -> Texts:
    """Texts of `prompt` + `response` tokens.

    ended: those that end within them, with the token `end` and padding behind it, instead of the beginnings of longer
    ones. The tokenizer has `vocabulary` tokens and is trained on the first `train` definitions that `seed` draws, of
    which none is in validation, test or pool; tokenizer: a folder or hub id of a pretrained one in its place. pool:
    so many further items are the extra part "pool", from which may be learned. ValueError if there are not enough.
    """
    texts, _ = definitions()
    order = np.random.default_rng((seed, 0x6105)).permutation(len(texts))
    known = Tokenizer.of(tokenizer) if tokenizer else Tokenizer.bpe((texts[i] for i in order[:train]), vocabulary)
    length = prompt + response
    sizes = {"train": train, "pool": pool, "validation": validation, "test": test}

    # training items come from the front of the order, the others from its end: more of the first moves none of these
    def chosen(rows: np.ndarray) -> Iterator[tuple[int, list[int]]]:
        for first in range(0, len(rows), _AT_ONCE):
            here = rows[first : first + _AT_ONCE]
            for row, found in zip(here, known.encode_all([texts[i] for i in here]), strict=True):
                if ended and prompt < len(found) < length:
                    yield int(row), [*found, known.end]
                elif not ended and len(found) >= length:
                    yield int(row), found[:length]

    parts: dict[str, list[tuple[int, list[int]]]] = {}
    taken, left = set[int](), chosen(order[: train - 1 : -1])
    for name in ("test", "validation", "pool"):
        parts[name] = list(islice(left, sizes[name]))
        taken |= {row for row, _ in parts[name]}
    learned = (item for item in chosen(order) if item[0] not in taken)
    parts["train"] = list(islice(learned, train))
    if any(len(parts[name]) < size for name, size in sizes.items()):
        asked = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(f"data glosses: {asked}: there are not so many definitions of {length} tokens; give less")
    return Texts(
        train=_part(known, parts["train"], prompt, length),
        validation=_part(known, parts["validation"], prompt, length),
        test=_part(known, parts["test"], prompt, length),
        extra={"pool": _part(known, parts["pool"], prompt, length)} if pool else {},
        vocabulary=len(known),
        start=known.start,
        end=known.end if ended else None,
        pad=known.pad,
        items=Items(
            SOURCE,
            {name: torch.tensor([row for row, _ in items]) for name, items in parts.items() if items},
            ("pool",) if pool else (),
        ),
        spelling=known,
    )


def _part(known: Tokenizer, items: Sequence[tuple[int, list[int]]], prompt: int, length: int) -> TensorData:
    tokens_NT, length_N = known.filled([found for _, found in items], length)
    place_T = torch.arange(length)
    return TensorData(
        {
            "tokens": tokens_NT,
            "mask": (place_T >= prompt) & (place_T < length_N[:, None]),
            "prompt": torch.full((len(items),), prompt),
            "sample_id": torch.tensor([row for row, _ in items]),
        }
    )
