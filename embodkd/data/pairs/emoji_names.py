"""Emoji with their names: 1,868 concepts in up to four drawing styles, titles and keywords from emojibase.

Parts are split by concept: whatever is named in the test has been neither seen nor read.
"""

from __future__ import annotations

import torch

from embodkd.core import Pairs
from embodkd.core.config.ranges import OpenShare, Seed, Whole
from embodkd.data.assets import load
from embodkd.data.emoji import LICENCES
from embodkd.data.pairs.captions import Drawings, Length, Side, Vocabulary, pairs
from embodkd.data.registry import DATA

_NOT_TOLD_APART = ("component", "flags")
"""Hair and skin; and flags, whose names no other flag teaches."""


@DATA.register(
    "emoji_names",
    title="colour emoji with their names, in four styles",
    licence=LICENCES,
    kind="pairs",
    asset="emoji",
    module="tokenizers",
    extra="language",
)
def emoji_names(
    *,
    seed: Seed = 0,
    size: Side = 32,
    keywords: Whole = 3,
    flags: bool = False,
    length: Length = 20,
    vocabulary: Vocabulary = 1024,
    tokenizer: str | None = None,
    sentences: bool = False,
    validation: OpenShare = 0.1,
    test: OpenShare = 0.25,
) -> Pairs:
    """Images (3, size, size) in [0, 1] on white. For all other keys see `captions.pairs`.

    flags: those of countries and regions, too. The groups are the 100 subgroups of Unicode's list. validation, test:
    these shares of the concepts, with all their pictures.
    """
    tensors, origin = load("emoji")
    left = [origin["groups"].index(name) for name in _NOT_TOLD_APART if not (flags and name == "flags")]
    keep_N = ~torch.isin(tensors["group"], torch.tensor(left))
    concepts = origin["concepts"]
    drawn = Drawings(
        tensors["images"],
        tensors["concept"],
        tensors["subgroup"],
        [concept["label"].lower() for concept in concepts],
        [[tag.lower() for tag in concept["tags"]] for concept in concepts],
        tuple(name.replace("-", " ") for name in origin["subgroups"]),
        "emoji",
    )
    return pairs(
        drawn.rows(keep_N),
        keep_N.nonzero().squeeze(1),
        seed=seed,
        size=size,
        keywords=keywords,
        length=length,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        sentences=sentences,
        validation=validation,
        test=test,
        where="data emoji_names",
    )
