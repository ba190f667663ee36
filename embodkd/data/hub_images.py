"""Image data sets of the Hugging Face hub, such as CIFAR-10 and CIFAR-100, read from their parquet files.

Nothing of the hub is run: a file is a table with a column of encoded images and a column of labels. All images are
kept in memory, as float32.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from embodkd.core.splits import Splits
from embodkd.data import DATA
from embodkd.data.partition import from_package, split


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
    seed: int = 0,
    repo: str = "uoft-cs/cifar100",
    revision: str = "main",
    image: str | None = None,
    label: str | None = None,
    train: int | None = None,
    validation: int = 5000,
    unlabelled: int = 0,
    parity: bool = False,
    imbalance: float = 1.0,
    corruptions: Mapping[str, int] | None = None,
    blank: bool = False,
) -> Splits:
    """Splits with inputs (channels, height, width) in [0, 1]; the test is the data set's own.

    repo: its id, or a folder with its parquet files; image, label: names of the columns, which are known for `KNOWN`.
    train: items, None for all that validation and unlabelled leave. parity: label 0 for an even class, 1 for an odd
    one, the class as the field `subclass`. unlabelled, imbalance, corruptions: see `partition.split`.
    blank: a few random images of that shape instead of the files, to try a config without them; needs a known repo.
    """
    known = KNOWN.get(repo)
    if blank:
        if known is None:
            raise ValueError(f"data hub_images: blank=true needs a data set of known shape: {', '.join(KNOWN)}")
        sizes = {part: max(count, BLANK_PER_CLASS[part] * known.classes) for part, count in BLANK.items()}
        parts = {part: _blank(known, count, seed) for part, count in sizes.items()}
        train, validation, unlabelled = None, 2 * known.classes, min(unlabelled, 2 * known.classes)
    else:
        columns = (image or (known.image if known else "image"), label or (known.label if known else "label"))
        parts = {part: _read(_files(repo, revision), part, *columns) for part in BLANK}
    classes = known.classes if known else 1 + max(int(fields["label"].max()) for fields in parts.values())
    if parity:
        parts = {p: {**f, "label": f["label"] % 2, "subclass": f["label"]} for p, f in parts.items()}
    return split(
        parts["train"],
        2 if parity else classes,
        seed=seed,
        train=len(parts["train"]["label"]) - validation - unlabelled if train is None else train,
        validation=validation,
        unlabelled=unlabelled,
        imbalance=imbalance,
        corruptions=corruptions,
        test=parts["test"],
        where=f"data hub_images ({repo})",
    )


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
    """Fields of the files whose name begins with `part`."""
    files = [file for file in sorted(folder.rglob("*.parquet")) if file.name.startswith(part)]
    if not files:
        raise ValueError(f"data hub_images: {folder} has no file {part}*.parquet")
    tables = [_table(file, image, label) for file in files]
    arrays = [_pixels(one["bytes"]) for table in tables for one in table[image]]
    sizes = sorted({array.shape for array in arrays})
    if len(sizes) > 1:
        raise ValueError(f"data hub_images: images of {len(sizes)} shapes, among them {sizes[:3]}; all must be alike")
    labels = [int(one) for table in tables for one in table[label]]
    images_NHWC = torch.from_numpy(np.stack(arrays))
    return {"input": images_NHWC.permute(0, 3, 1, 2).float() / 255.0, "label": torch.tensor(labels)}


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
