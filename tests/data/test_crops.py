"""Crops and mirrors of training images: what an image becomes, and of what that is a function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from embodkd.data.crops import CroppedData

N, CROP = 400, 2


def data(seed: int = 0, **options) -> CroppedData:
    """Images of 5 x 4 pixels that no two crops or mirrors of have in common, under ids of their own."""
    images = 1.0 + torch.arange(N * 3 * 5 * 4, dtype=torch.float32).view(N, 3, 5, 4)
    return CroppedData({"input": images, "sample_id": 7 + 3 * torch.arange(N)}, seed=seed, **options)


def variants(image_CHW: torch.Tensor, flip: bool) -> list[bytes]:
    """All that an image may become, by slices."""
    wide = pad(image_CHW, (CROP,) * 4)
    cuts = [wide[:, y : y + 5, x : x + 4] for y in range(2 * CROP + 1) for x in range(2 * CROP + 1)]
    return [c.contiguous().numpy().tobytes() for cut in cuts for c in ((cut, cut.flip(2)) if flip else (cut,))]


def test_pass_0_shows_the_images_as_they_are() -> None:
    source = data(crop=CROP, flip=True)
    assert torch.equal(source.gather(np.arange(N), 0)["input"], source.fields["input"])


@pytest.mark.parametrize("flip", [False, True])
def test_every_crop_and_mirror_comes_equally_often(flip: bool) -> None:
    source = data(crop=CROP, flip=flip)
    count = np.zeros(25 * (1 + flip))
    for epoch in (1, 2, 3, 4, 5):
        for plain, shown in zip(source.fields["input"], source.gather(np.arange(N), epoch)["input"], strict=True):
            count[variants(plain, flip).index(shown.numpy().tobytes())] += 1
    expected = 5 * N / len(count)
    # Five standard deviations of a count.
    assert np.abs(count - expected).max() < 5 * np.sqrt(expected)


def test_an_image_is_a_function_of_seed_pass_and_id_alone() -> None:
    source, order = data(crop=CROP, flip=True), np.random.default_rng(0).permutation(N)
    whole = source.gather(np.arange(N), 3)["input"]
    assert torch.equal(source.gather(order, 3)["input"], whole[order])
    assert torch.equal(source.gather(order[:7], 3)["input"], whole[order[:7]])
    assert torch.equal(data(crop=CROP, flip=True).gather(np.arange(N), 3)["input"], whole)
    for other in (
        source.gather(np.arange(N), 4)["input"],
        data(1, crop=CROP, flip=True).gather(np.arange(N), 3)["input"],
    ):
        same = (other == whole).flatten(1).all(1)
        assert same.float().mean() < 0.1


def test_a_negative_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="crop: a number of pixels >= 0, got -1"):
        data(crop=-1)
