"""Image data sets of the Hugging Face hub, such as CIFAR-10 and CIFAR-100, read from their parquet files.

Nothing of the hub is run: a file is a table with a column of encoded images and a column of labels. All images are
kept in memory, as float32.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch

from embodkd.core import Splits
from embodkd.core.config.ranges import Count, Ratio, Seed, Severity, Whole, Within
from embodkd.data.crops import CroppedData
from embodkd.data.partition import from_package, split
from embodkd.data.registry import DATA


class Known(NamedTuple):
    """What is known of a data set without its files: input shape, classes, names of its columns."""

    shape: tuple[int, int, int]
    classes: int
    image: str
    label: str


KNOWN = {
    "uoft-cs/cifar10": Known((3, 32, 32), 10, "img", "label"),
    "uoft-cs/cifar100": Known((3, 32, 32), 100, "img", "fine_label"),
}
BLANK = {"train": 240, "test": 40}
BLANK_PER_CLASS = {"train": 6, "test": 1}


@DATA.register(
    "hub_images", title="images of a data set on the Hugging Face hub", licence="see the data set", module="pyarrow"
)
def hub_images(
    *,
    seed: Seed = 0,
    repo: str = "uoft-cs/cifar100",
    revision: str = "main",
    image: str | None = None,
    label: str | None = None,
    train: Count | None = None,
    validation: Count = 5000,
    unlabelled: Whole = 0,
    parity: bool = False,
    imbalance: Ratio = 1.0,
    corruptions: Mapping[str, Severity] | None = None,
    crop: Annotated[int, Within(0, 512)] = 0,
    flip: bool = False,
    blank: bool = False,
) -> Splits:
    """Splits with inputs (channels, height, width) in [0, 1]; the test is the data set's own.

    repo: its id, or a folder with its parquet files; image, label: names of the columns, which are known for `KNOWN`.
    train: items, None for all that validation and unlabelled leave. parity: label 0 for an even class, 1 for an odd
    one, the class as the field `subclass`. unlabelled, imbalance, corruptions: see `partition.split`. crop, flip: of
    the training images and those of a pool, see `CroppedData`.
    blank: a few random images of that shape instead of the files, to try a config without them; needs a known repo.
    """
    known = KNOWN.get(repo)
    names: Sequence[str] | None = None
    items: dict[str, torch.Tensor] | dict[str, None] = dict.fromkeys(BLANK)
    if blank:
        if known is None:
            raise ValueError(f"data hub_images: blank=true needs a data set of known shape: {', '.join(KNOWN)}")
        sizes = {part: max(count, BLANK_PER_CLASS[part] * known.classes) for part, count in BLANK.items()}
        parts = {part: _blank(known, count, seed) for part, count in sizes.items()}
        train, validation, unlabelled = None, 2 * known.classes, min(unlabelled, 2 * known.classes)
    else:
        columns = (image or (known.image if known else "image"), label or (known.label if known else "label"))
        folder = _files(repo, revision)
        parts = {part: _read(folder, part, *columns) for part in BLANK}
        items = {part: fields.pop("item") for part, fields in parts.items()}
        names = _class_names(folder, columns[1])
    classes = known.classes if known else 1 + max(int(fields["label"].max()) for fields in parts.values())
    if names is None or len(names) < classes:
        names = tuple(f"class {c}" for c in range(classes))
    if parity:
        parts = {p: {**f, "label": f["label"] % 2, "subclass": f["label"]} for p, f in parts.items()}
        names = ("even class", "odd class")
    data = split(
        parts["train"],
        names,
        # A picture is known by its bytes, whatever folder or revision it came in.
        source=f"random pictures of seed {seed}" if blank else "pictures by their sha256",
        items=items["train"],
        test_items=items["test"],
        seed=seed,
        train=len(parts["train"]["label"]) - validation - unlabelled if train is None else train,
        validation=validation,
        unlabelled=unlabelled,
        imbalance=imbalance,
        corruptions=corruptions,
        test=parts["test"],
        where=f"data hub_images ({repo})",
    )
    if not (crop or flip):
        return data
    assert data.items is not None
    moving = {
        name: CroppedData(data.part(name).fields, crop=crop, flip=flip, seed=seed)
        for name in ("train", *data.items.pools)
    }
    return replace(data, train=moving.pop("train"), extra={**data.extra, **moving})


def _blank(known: Known, count: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *known.shape, generator=generator)
    return {"input": images, "label": torch.arange(count) % known.classes}


def _files(repo: str, revision: str) -> Path:
    """The folder of the parquet files: `repo` itself if it is one, or the hub's cache."""
    if Path(repo).is_dir():
        return Path(repo)
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns="*.parquet"))
    except OSError as error:
        raise ValueError(
            f"data hub_images: {repo} cannot be had from the hub ({error}); give a folder instead"
        ) from error


def _read(folder: Path, part: str, image: str, label: str) -> dict[str, torch.Tensor]:
    """Fields of the files whose name begins with `part`, with `item`, a digest of each image's bytes."""
    files = [file for file in sorted(folder.rglob("*.parquet")) if file.name.startswith(part)]
    if not files:
        raise ValueError(f"data hub_images: {folder} has no file {part}*.parquet")
    tables = [_table(file, image, label) for file in files]
    encoded = [one["bytes"] for table in tables for one in table[image]]
    arrays = [_pixels(one) for one in encoded]
    sizes = sorted({array.shape for array in arrays})
    if len(sizes) > 1:
        raise ValueError(f"data hub_images: images of {len(sizes)} shapes, among them {sizes[:3]}; all must be alike")
    labels = [int(one) for table in tables for one in table[label]]
    images_NHWC = torch.from_numpy(np.stack(arrays))
    return {
        "input": images_NHWC.permute(0, 3, 1, 2).float() / 255.0,
        "label": torch.tensor(labels),
        "item": torch.tensor([int.from_bytes(hashlib.sha256(one).digest()[:8], "big") >> 1 for one in encoded]),
    }


def _class_names(folder: Path, label: str) -> list[str] | None:
    """What the files themselves call the classes, None if they do not say."""
    parquet = from_package("pyarrow.parquet", "hub_images")
    file = min(folder.rglob("train*.parquet"))
    said = json.loads((parquet.read_schema(file).metadata or {}).get(b"huggingface", b"{}"))
    names = said.get("info", {}).get("features", {}).get(label, {}).get("names")
    return [str(name) for name in names] if names else None


def _table(file: Path, image: str, label: str) -> dict[str, list[Any]]:
    parquet = from_package("pyarrow.parquet", "hub_images")
    names = parquet.read_schema(file).names
    for name in (image, label):
        if name not in names:
            raise ValueError(f"data hub_images: {file.name} has no column {name!r}, it has {', '.join(names)}")
    return dict(parquet.read_table(file, columns=[image, label]).to_pydict())


def _pixels(encoded: bytes) -> np.ndarray:
    """(H, W, C) uint8 of one encoded image, grey or RGB."""
    from PIL import Image

    picture = Image.open(io.BytesIO(encoded))
    array = np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
    return array if array.ndim == 3 else array[:, :, None]
