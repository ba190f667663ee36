"""WordNet's definitions and the lexicographer's file that each stands in: 45 classes of very unequal size."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch

from embodkd.core import Splits, TensorData
from embodkd.core.config.ranges import Count, Seed, Whole, Within
from embodkd.core.sources.dataset import Items
from embodkd.data.partition import cut, stratified_order
from embodkd.data.registry import DATA
from embodkd.data.text.glosses import Vocabulary
from embodkd.data.text.tokenizer import Tokenizer
from embodkd.data.text.wordnet import FILES, SOURCE, definitions


@DATA.register(
    "gloss45",
    title="definitions of English words, 45 lexicographer's files",
    licence="WordNet 3.0",
    asset="wordnet",
    installed="/usr/share/wordnet",
    module="tokenizers",
    extra="language",
)
def gloss45(
    *,
    seed: Seed = 0,
    train: Count = 8000,
    validation: Count = 2000,
    test: Count = 4000,
    unlabelled: Whole = 0,
    length: Annotated[int, Within(3, 512)] = 32,
    vocabulary: Vocabulary = 1024,
    tokenizer: str | None = None,
) -> Splits:
    """Splits with inputs (length,) int64 and their mask: start, the first tokens of a definition, end.

    vocabulary, tokenizer: as in glosses; it is trained on the training part. unlabelled: items of the extra part of
    that name.
    """
    texts, file_N = definitions()
    sizes = {"validation": validation, "test": test, "train": train, "unlabelled": unlabelled}
    parts = cut(stratified_order(file_N, seed), sizes, "data gloss45")
    known = Tokenizer.of(tokenizer) if tokenizer else Tokenizer.bpe((texts[i] for i in parts["train"]), vocabulary)

    def part(rows: np.ndarray) -> TensorData:
        found = [
            [known.start, *tokens[: length - 2], known.end] for tokens in known.encode_all([texts[i] for i in rows])
        ]
        tokens_NT, length_N = known.filled(found, length)
        there_NT = torch.arange(length) < length_N[:, None]
        index = torch.from_numpy(rows)
        return TensorData(
            {"input": tokens_NT, "mask": there_NT, "label": torch.from_numpy(file_N)[index], "sample_id": index}
        )

    return Splits(
        train=part(parts["train"]),
        validation=part(parts["validation"]),
        test=part(parts["test"]),
        classes=len(FILES),
        shape=(length,),
        extra={"unlabelled": part(parts["unlabelled"])} if unlabelled else {},
        names=FILES,
        items=Items(
            SOURCE,
            {name: torch.from_numpy(rows) for name, rows in parts.items() if len(rows)},
            ("unlabelled",) if unlabelled else (),
        ),
        vocabulary=len(known),
        spelling=known,
    )
