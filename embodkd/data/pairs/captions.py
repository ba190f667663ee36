"""From drawings, their titles and keywords to `Pairs`: texts, tokens, and parts that share no concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embodkd.core import Pairs, TensorData
from embodkd.core.config.ranges import Within
from embodkd.core.sources.dataset import Items
from embodkd.data.partition import by_concept
from embodkd.data.text.minilm import sentences as sentences_of
from embodkd.data.text.tokenizer import Tokenizer

Side = Annotated[int, Within(8, 64)]
"""Of a square image, in pixels."""
Length = Annotated[int, Within(3, 256)]
"""Of a row of tokens: start, at least one of the text, end."""
Vocabulary = Annotated[int, Within(300, 65536)]
"""Of byte-level BPE: special tokens, all bytes, and some that are found."""


@dataclass(frozen=True)
class Drawings:
    """Drawn things: images (N, 3, H, W) uint8; of each the number of its concept and group (N,); of each concept its
    title and keywords; the groups' names; and what the rows count in (`Items.source`)."""

    images_N3HW: Tensor
    concept_N: Tensor
    group_N: Tensor
    titles: Sequence[str]
    keywords: Sequence[Sequence[str]]
    groups: tuple[str, ...]
    source: str

    def rows(self, keep_N: Tensor) -> Drawings:
        """Those where `keep` (N,) is true, their groups numbered anew; sample ids of `pairs` are places in these."""
        used, group_N = self.group_N[keep_N].unique(return_inverse=True)
        groups = tuple(self.groups[k] for k in used.tolist())
        return Drawings(
            self.images_N3HW[keep_N], self.concept_N[keep_N], group_N, self.titles, self.keywords, groups, self.source
        )


def pairs(
    drawn: Drawings,
    row_N: Tensor,
    *,
    seed: int,
    size: int,
    keywords: int,
    length: int,
    vocabulary: int,
    tokenizer: str | None,
    sentences: bool,
    validation: float,
    test: float,
    where: str,
) -> Pairs:
    """Cut drawings into parts, see `Pairs`.

    row_N: the number of each in its source. The text of a training item is its concept's title and `keywords` of its
    keywords, drawn anew for each drawing of it; elsewhere they are the first ones, the same for a whole concept. Texts
    are cut to `length` tokens, start and end among them. The tokenizer has `vocabulary` tokens and is trained on the
    training texts; tokenizer: a folder or hub id of a pretrained one in its place. sentences: items and prompts have
    the field `sentence` (N, 384), too, what all-MiniLM-L6-v2 makes of the whole text.
    """
    parts = by_concept(drawn.concept_N, drawn.group_N, validation, test, seed, where)
    for name, rows in parts.items():
        if not len(rows):
            raise ValueError(f"{where}: {name} is empty; give it a larger share")
    rng = np.random.default_rng((seed, 0x7E87))
    texts = {
        name: [_text(drawn, int(drawn.concept_N[row]), keywords, rng if name == "train" else None) for row in rows]
        for name, rows in parts.items()
    }
    known = Tokenizer.of(tokenizer) if tokenizer else Tokenizer.bpe(texts["train"], vocabulary)
    image_N3HW = _images(drawn.images_N3HW, size)

    def read(said: list[str]) -> Mapping[str, Tensor]:
        found = tokens_of(known, said, length)
        return {**found, "sentence": sentences_of(said, where)} if sentences else found

    def part(name: str) -> TensorData:
        rows = torch.from_numpy(parts[name])
        own = {"concept": drawn.concept_N[rows], "group": drawn.group_N[rows], "sample_id": row_N[rows]}
        return TensorData({"image": image_N3HW[rows], **read(texts[name]), **own})

    return Pairs(
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        shape=tuple(image_N3HW.shape[1:]),
        vocabulary=len(known),
        prompts=read(list(drawn.groups)),
        groups=drawn.groups,
        items=Items(drawn.source, {name: row_N[torch.from_numpy(rows)] for name, rows in parts.items()}),
        spelling=known,
    )


def _text(drawn: Drawings, concept: int, count: int, rng: np.random.Generator | None) -> str:
    """ "grinning face, cheerful, happy": a title with keywords that do not repeat it."""
    title = drawn.titles[concept]
    words = [word for word in dict.fromkeys(drawn.keywords[concept]) if word not in title.split() and word != title]
    if rng is not None:
        words = [words[k] for k in rng.permutation(len(words))]
    return ", ".join([title, *words[:count]])


def tokens_of(known: Tokenizer, texts: Sequence[str], length: int) -> Mapping[str, Tensor]:
    """The fields tokens and mask of texts, each between the tokens `start` and `end`, cut to `length` in all."""
    rows = [[known.start, *found[: length - 2], known.end] for found in known.encode_all(texts)]
    tokens_NT, length_N = known.filled(rows, length)
    return {"tokens": tokens_NT, "mask": torch.arange(length) < length_N[:, None]}


def _images(images_N3HW: Tensor, size: int) -> Tensor:
    """In [0, 1], (N, 3, size, size)."""
    found = []
    for some in images_N3HW.split(512):
        some = some.float() / 255.0
        if some.shape[-1] != size:
            some = functional.interpolate(some, (size, size), mode="bilinear", antialias=True).clamp(0.0, 1.0)
        found.append(some)
    return torch.cat(found)
