"""Crops of ten real colour photographs, from the wheels of scikit-image and scikit-learn.

Real pixels without end for a teacher with ImageNet weights; the label is which photograph a crop comes from. The
splits come from strips of their own: no pixel is both trained on and judged by.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embodkd.core import Splits, TensorData
from embodkd.core.config.ranges import Count, Seed, Severity, Whole, Within
from embodkd.core.sources.splits import Items
from embodkd.data.partition import corrupted, from_package
from embodkd.data.registry import DATA

FROM_SKIMAGE = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
FROM_SKLEARN = ("china.jpg", "flower.jpg")
STRIPS = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}


@cache
def photographs() -> dict[str, np.ndarray]:
    """name -> (H, W, 3) uint8."""
    from sklearn.datasets import load_sample_image

    data = from_package("skimage.data", "photos")
    images = {name: getattr(data, name)() for name in FROM_SKIMAGE}
    images["motorcycle"] = data.stereo_motorcycle()[0]
    return images | {name.removesuffix(".jpg"): load_sample_image(name) for name in FROM_SKLEARN}


@DATA.register("photos", title="crops of ten colour photographs", licence="BSD-3, see the packages", module="skimage")
def photos(
    *,
    seed: Seed = 0,
    size: Annotated[int, Within(8, 512)] = 48,
    train: Count = 2000,
    validation: Count = 400,
    test: Count = 1000,
    unlabelled: Whole = 0,
    corruptions: Mapping[str, Severity] | None = None,
) -> Splits:
    """Splits with inputs (3, size, size) in [0, 1], 10 classes in equal numbers (up to one).

    A crop is a square of `size` to 2 * `size` pixels a side, as far as its strip allows, drawn uniformly, then
    resized. Strips: 60 % of each photograph's width for train and unlabelled, 20 % for each of the others.
    """
    names = list(photographs())
    counts = {"train": train, "validation": validation, "test": test, "unlabelled": unlabelled}
    parts: dict[str, TensorData] = {}
    items: dict[str, Tensor] = {}
    first = 0
    for number, (part, count) in enumerate(counts.items()):
        if count < (part != "unlabelled"):
            raise ValueError(f"data photos: {part}={count} leaves this part empty; give at least 1")
        if count:
            rng = np.random.default_rng((seed, number))
            label_N = rng.permutation(np.arange(count) % len(names))
            strip = STRIPS["train" if part == "unlabelled" else part]
            crops, places = zip(*(_crop(names[label], strip, size, rng) for label in label_N), strict=True)
            fields = {"input": torch.stack(crops), "label": torch.from_numpy(label_N)}
            items[part] = fields["label"] << 48 | torch.tensor(places)
            parts[part] = TensorData({**fields, "sample_id": first + torch.arange(count)})
        first += count
    extra = {"unlabelled": parts["unlabelled"]} if unlabelled else {}
    copies = corrupted(parts["test"], corruptions or {}, seed, first)
    return Splits(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        classes=len(names),
        shape=(3, size, size),
        extra=extra | copies,
        names=tuple(names),
        items=Items("crops of photographs", items | dict.fromkeys(copies, items["test"]), tuple(extra)),
    )


def _crop(name: str, strip: tuple[float, float], size: int, rng: np.random.Generator) -> tuple[Tensor, int]:
    """The crop, and its place in the photograph as one number."""
    image_HWC = photographs()[name]
    height, width, _ = image_HWC.shape
    left, right = round(strip[0] * width), round(strip[1] * width)
    largest = min(2 * size, right - left, height)
    if size < 8 or largest < size:
        raise ValueError(f"data photos: size={size}; give 8..{min(right - left, height)}, {name} has no larger crops")
    side = int(rng.integers(size, largest + 1))
    y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(left, right - side + 1))
    crop_CHW = torch.from_numpy(image_HWC[y : y + side, x : x + side].copy()).permute(2, 0, 1).float() / 255.0
    resized = functional.interpolate(crop_CHW[None], size=(size, size), mode="bilinear", antialias=True)
    return resized[0].clamp(0.0, 1.0), y << 32 | x << 16 | side
