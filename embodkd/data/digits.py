"""1,797 handwritten digits at 8 x 8, from scikit-learn's wheel (test part of UCI's optical digits, CC BY 4.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embodkd.core import Splits
from embodkd.core.config.ranges import Count, Ratio, Seed, Severity, Whole, Within
from embodkd.data.partition import split
from embodkd.data.registry import DATA

SOURCE = "scikit-learn's digits"


def load_digits() -> tuple[Tensor, Tensor]:
    """(images_N1HW in [0, 1], digit_N) of all 1,797."""
    from sklearn.datasets import load_digits as load

    raw = load()
    return torch.from_numpy(raw.images.astype(np.float32))[:, None] / 16.0, torch.from_numpy(
        raw.target.astype(np.int64)
    )


@DATA.register("digits", title="handwritten digits, 8 x 8, 10 classes", licence="CC BY 4.0")
def digits(
    *,
    seed: Seed = 0,
    train: Count = 1000,
    validation: Count = 200,
    unlabelled: Whole = 0,
    classes: tuple[Annotated[int, Within(0, 9)], ...] | None = None,
    parity: bool = False,
    upsample: Annotated[int, Within(1, 64)] = 1,
    pad: Annotated[int, Within(0, 512)] = 0,
    imbalance: Ratio = 1.0,
    corruptions: Mapping[str, Severity] | None = None,
) -> Splits:
    """Splits with inputs (1, 8 * upsample + 2 * pad, the same) in [0, 1]; what the other parts leave is the test.

    classes: these digits only, labelled in this order. parity: label 0 for even, 1 for odd, and the digit's own label
    as the field `subclass`. upsample: bilinear, by a whole factor; pad: so many black pixels on each side, room for
    the corruption "shift". unlabelled, imbalance, corruptions: see `partition.split`.
    """
    images_N1HW, digit_N = load_digits()
    chosen = tuple(range(10)) if classes is None else classes
    if len(set(chosen)) != len(chosen) or len(chosen) < 2 or not set(chosen) <= set(range(10)):
        raise ValueError(f"data digits: classes are at least two different digits 0..9; got {list(chosen)}")
    if upsample < 1 or pad < 0:
        raise ValueError(f"data digits: upsample is >= 1 and pad >= 0; got {upsample} and {pad}")
    place_10 = torch.full((10,), -1)
    place_10[list(chosen)] = torch.arange(len(chosen))
    keep_N = place_10[digit_N] >= 0
    images_N1HW, digit_N, items_N = images_N1HW[keep_N], digit_N[keep_N], keep_N.nonzero().squeeze(1)
    if upsample > 1:
        images_N1HW = functional.interpolate(images_N1HW, scale_factor=upsample, mode="bilinear", align_corners=False)
    fields = {"input": functional.pad(images_N1HW, (pad,) * 4), "label": place_10[digit_N]}
    if parity:
        fields = {**fields, "label": digit_N % 2, "subclass": fields["label"]}
    return split(
        fields,
        ("even", "odd") if parity else tuple(map(str, chosen)),
        source=SOURCE,
        items=items_N,
        seed=seed,
        train=train,
        validation=validation,
        unlabelled=unlabelled,
        imbalance=imbalance,
        corruptions=corruptions,
        where="data digits",
    )
