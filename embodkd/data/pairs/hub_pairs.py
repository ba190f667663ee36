"""Images with texts of the Hugging Face hub, read from parquet files with a column of each; nothing of the hub is run.

A row is a concept of its own. Images are cut to a square and kept in memory, as float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embodkd.core import Pairs, TensorData
from embodkd.core.config.ranges import Count, Seed, Within
from embodkd.core.sources.dataset import Items
from embodkd.data.hub_files import chosen, fetched, split_files
from embodkd.data.hub_tables import decoded, encoded, table
from embodkd.data.pairs.captions import Length, Vocabulary, tokens_of
from embodkd.data.registry import DATA
from embodkd.data.text.tokenizer import Tokenizer

BLANK = {"train": 64, "validation": 16, "test": 16}


@DATA.register(
    "hub_pairs",
    title="images with texts of a data set on the Hugging Face hub",
    licence="see the data set",
    kind="pairs",
    module="pyarrow",
    extra="language",
)
def hub_pairs(
    *,
    seed: Seed = 0,
    repo: str = "",
    revision: str = "main",
    config: str | None = None,
    splits: Mapping[str, str] | None = None,
    image: str = "image",
    text: str = "caption",
    size: Annotated[int, Within(8, 1024)] = 224,
    length: Length = 77,
    vocabulary: Vocabulary = 49408,
    tokenizer: str | None = None,
    validation: Count = 5000,
    blank: bool = False,
) -> Pairs:
    """Images (3, size, size) in [0, 1], the middle square of each; the test is the data set's own.

    repo, revision, config, splits: as in hub_images. image, text: names of the columns; of several texts of a row the
    first counts. validation: rows of the training part that choose. tokenizer: a folder or hub id; without one there
    are `vocabulary` tokens, trained on the training texts. blank: a few random images and tokens instead of the files.
    """
    where = f"data hub_pairs ({repo})"
    if blank:
        return _blank(size, length, vocabulary, seed)
    if not repo:
        raise ValueError("data hub_pairs: give repo, a data set's id on the hub or a folder with its parquet files")
    files = chosen(split_files(fetched(repo, revision, "hub_pairs"), config, where), splits or {}, where)
    rows = {part: _read(paths, image, text, size, f"{where}: {part}") for part, paths in files.items()}
    order = np.random.default_rng((seed, 0x4B1D)).permutation(len(rows["train"][1]))
    if validation >= len(order):
        raise ValueError(f"{where}: validation={validation} of {len(order)} rows leaves none to learn from; give less")
    cuts = {"validation": ("train", order[:validation]), "train": ("train", order[validation:])}
    cuts["test"] = ("test", np.arange(len(rows["test"][1])))
    texts = {part: [rows[source][1][k] for k in places] for part, (source, places) in cuts.items()}
    known = Tokenizer.of(tokenizer) if tokenizer else Tokenizer.bpe(texts["train"], vocabulary)
    parts: dict[str, Any] = {}
    items, first = {}, 0
    for part, (source, places) in cuts.items():
        number_N = torch.arange(first, first + len(places))
        fields = {"image": rows[source][0][places], **tokens_of(known, texts[part], length)}
        parts[part] = TensorData({**fields, "concept": number_N, "sample_id": number_N})
        items[part], first = rows[source][2][places], first + len(places)
    return Pairs(
        **parts,
        shape=(3, size, size),
        vocabulary=len(known),
        items=Items("pictures by their sha256", items),
        spelling=known,
    )


def _read(files: Sequence[Path], image: str, text: str, size: int, where: str) -> tuple[Tensor, list[str], Tensor]:
    """(images (N, 3, size, size), texts, digests (N,)) of all rows."""
    images, texts, digests = [], [], []
    for file in files:
        found = table(file, image, text, where)
        pairs = zip(found.column(image).to_pylist(), found.column(text).to_pylist(), strict=True)
        for number, (picture, said) in enumerate(pairs):
            at = f"{where}: {file.name}: row {number}"
            content = encoded(picture, file, at)
            images.append(_square(decoded(content, at), size))
            texts.append(_words(said, at))
            digests.append(int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1)
    if not images:
        raise ValueError(f"{where}: {files[0].name} has no rows")
    return torch.stack(images), texts, torch.tensor(digests)


def _words(said: Any, at: str) -> str:
    first = said[0] if isinstance(said, list) and said else said
    if not isinstance(first, str) or not first.strip():
        raise ValueError(f"{at}: has no text; take such rows out")
    return " ".join(first.lower().split())


def _square(picture: np.ndarray, size: int) -> Tensor:
    """The middle square of a picture, (3, size, size) in [0, 1]."""
    pixels = np.asarray(picture, np.float32) / np.iinfo(picture.dtype).max
    pixels = np.repeat(pixels[:, :, None], 3, 2) if pixels.ndim == 2 else pixels
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    cut = torch.from_numpy(pixels[top : top + side, left : left + side]).permute(2, 0, 1)[None]
    return functional.interpolate(cut, (size, size), mode="bilinear", antialias=True)[0].clamp(0.0, 1.0)


def _blank(size: int, length: int, vocabulary: int, seed: int) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, Any] = {}
    first = 0
    for part, count in BLANK.items():
        number_N = torch.arange(first, first + count)
        tokens_NT = torch.randint(vocabulary, (count, length), generator=generator)
        fields = {"image": torch.rand(count, 3, size, size, generator=generator), "tokens": tokens_NT}
        mask_NT = torch.ones(count, length, dtype=torch.bool)
        parts[part] = TensorData({**fields, "mask": mask_NT, "concept": number_N, "sample_id": number_N})
        first += count
    return Pairs(**parts, shape=(3, size, size), vocabulary=vocabulary)
