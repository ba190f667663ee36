"""Image data sets of the Hugging Face hub, such as CIFAR-10 and CIFAR-100, read from their parquet files.

Nothing of the hub is run: a file is a table with a column of encoded images and a column of labels. All images are
kept in memory, as float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import torch

from embodkd.core import Splits
from embodkd.core.config.ranges import Count, Ratio, Seed, Severity, Whole, Within
from embodkd.data.crops import CroppedData
from embodkd.data.hub_files import chosen, fetched, split_files
from embodkd.data.hub_tables import class_names, fields_of, read_rows
from embodkd.data.partition import split
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
BLANK = {"train": 120, "test": 40}
BLANK_PER_CLASS = {"train": 3, "test": 1}


@DATA.register(
    "hub_images", title="images of a data set on the Hugging Face hub", licence="see the data set", module="pyarrow"
)
def hub_images(
    *,
    seed: Seed = 0,
    repo: str = "uoft-cs/cifar100",
    revision: str = "main",
    config: str | None = None,
    splits: Mapping[str, str] | None = None,
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

    repo: its id, or a folder with its parquet files; config: which of several data sets in it; splits: {"train": its
    name, "test": its name} where they are called otherwise; image, label: names of the columns, which are known for
    `KNOWN`. Pictures of two bytes per pixel are read whole, labels may be texts or numbers with gaps.
    train: items, None for all that validation and unlabelled leave. parity: label 0 for an even class, 1 for an odd
    one, the class as the field `subclass`. unlabelled, imbalance, corruptions: see `partition.split`. crop, flip: of
    the training images and those of a pool, see `CroppedData`.
    blank: a few random images of that shape instead of the files, to try a config without them; needs a known repo.
    """
    known, where = KNOWN.get(repo), f"data hub_images ({repo})"
    items: dict[str, torch.Tensor] | dict[str, None] = dict.fromkeys(BLANK)
    if blank:
        if known is None:
            raise ValueError(f"data hub_images: blank=true needs a data set of known shape: {', '.join(KNOWN)}")
        sizes = {part: max(count, BLANK_PER_CLASS[part] * known.classes) for part, count in BLANK.items()}
        parts = {part: _blank(known, count, seed) for part, count in sizes.items()}
        train, validation, unlabelled = None, known.classes, min(unlabelled, known.classes)
        names: Sequence[str] = [f"class {c}" for c in range(known.classes)]
    else:
        columns = (image or (known.image if known else "image"), label or (known.label if known else "label"))
        files = chosen(split_files(fetched(repo, revision, "hub_images"), config, where), splits or {}, where)
        parts, names = _read(files, *columns, known.classes if known else None, where)
        items = {part: fields.pop("item") for part, fields in parts.items()}
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
        where=where,
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


def _read(
    files: Mapping[str, Sequence[Path]], image: str, label: str, classes: int | None, where: str
) -> tuple[dict[str, dict[str, torch.Tensor]], list[str]]:
    """(the fields of each part, the names of the classes).

    The classes are those that the set names, or `classes` of them; else the labels that occur in the training part, in
    their order: a gap between numbers is no class.
    """
    rows = {part: read_rows(paths, image, label, where) for part, paths in files.items()}
    names = class_names(files["train"][0], label)
    occurring = sorted(set(rows["train"].labels), key=lambda value: (isinstance(value, str), value))
    if all(isinstance(value, int) for value in occurring) and (names or classes):
        places = {value: value for value in range(len(names or ()) or classes or 0)}
    else:
        places = {value: place for place, value in enumerate(occurring)}
    channels = max(3 if picture.ndim == 3 else 1 for part in rows.values() for picture in part.pictures)
    parts = {part: fields_of(found, places, channels, f"{where}: {part}") for part, found in rows.items()}
    sizes = {part: tuple(fields["input"].shape[1:]) for part, fields in parts.items()}
    if sizes["train"] != sizes["test"]:
        raise ValueError(f"{where}: its pictures are {sizes['train']} in training, {sizes['test']} in the test")
    return parts, names or [value if isinstance(value, str) else f"class {value}" for value in places]
