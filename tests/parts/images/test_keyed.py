"""Keyed views: the same bits in any batch and order, no global generator, ranges, and mixing in pairs."""

import numpy as np
import pytest
import torch

from embodkd.core import Seeded, Signals, TensorData
from embodkd.core.rng import rng_state
from embodkd.parts.images.keyed import SEED, KeyedView, Paired

MIX = KeyedView(mixup=0.8, cutmix=1.0)


def items(n=12, channels=3, seed=3):
    images = torch.rand(n, channels, 10, 14, generator=torch.Generator().manual_seed(0))
    ids = torch.randperm(5 * n, generator=torch.Generator().manual_seed(1))[:n]
    return Seeded(TensorData({"input": images, "sample_id": ids}), SEED, seed=seed)


@pytest.mark.parametrize("view", [KeyedView(), MIX])
@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_a_view_is_the_same_in_any_batch_and_order(view, size):
    source = Paired(items(), seed=3) if view.mixes else items()
    whole = view(source.gather(np.arange(12), 2))
    order = np.random.default_rng(0).permutation(12)
    found = torch.empty_like(whole)
    for start in range(0, 12, size):
        rows = order[start : start + size]
        found[torch.from_numpy(rows)] = view(source.gather(rows, 2))
    assert torch.equal(found, whole)
    assert not torch.equal(view(source.gather(np.arange(12), 3)), whole)


@pytest.mark.parametrize("view", [KeyedView(), MIX])
def test_no_global_generator_is_asked(view):
    before, numbers = rng_state()
    view(Paired(items()).gather(np.arange(12), 1))
    after, same = rng_state()
    assert numbers == same and all(np.array_equal(before[key], after[key]) for key in before)


def test_with_everything_off_the_image_stays_as_it_is():
    batch = items().gather(np.arange(12), 0)
    found = KeyedView(crop=1.0, flip=0.0, colour=0.0, erase=0.0)(batch)
    torch.testing.assert_close(found, batch["input"], atol=1e-6, rtol=1e-6)
    mirrored = KeyedView(crop=1.0, flip=1.0, colour=0.0, erase=0.0)(batch)
    torch.testing.assert_close(mirrored, batch["input"].flip(3), atol=1e-6, rtol=1e-6)


def test_crops_keep_the_stated_area_and_lie_within_the_image():
    """On a ramp the smallest and the largest value are where a crop begins and ends."""
    side, n = 64, 200
    ramp = ((torch.arange(side) + 0.5) / side).expand(side, side)
    images = torch.stack([ramp, ramp.T]).expand(n, 2, side, side)
    seeds = torch.arange(n, dtype=torch.int32)
    found = KeyedView(crop=0.3, flip=0.5, colour=0.0, erase=0.0).alone(images, seeds)
    width, height = (found[:, k].flatten(1).amax(1) - found[:, k].flatten(1).amin(1) for k in (0, 1))
    area = width * height / (1 - 1 / side) ** 2
    assert area.min() >= 0.29 and area.max() <= 1.001 and area.std() > 0.1
    flipped = found[:, 0, 0, 0] > found[:, 0, 0, -1]
    assert 0.35 < flipped.double().mean() < 0.65


def test_erasing_paints_one_colour_over_a_part_as_often_as_asked():
    n = 400
    images = torch.full((n, 3, 20, 20), 0.5)
    found = KeyedView(crop=1.0, flip=0.0, colour=0.0, erase=0.25).alone(images, torch.arange(n, dtype=torch.int32))
    painted = (found != 0.5).any(1).flatten(1)
    share = painted.double().mean(1)
    assert 0.15 < (share > 0).double().mean() < 0.35 and share.max() < 0.45
    for image, where in zip(found.flatten(2), painted, strict=True):
        assert len(image[:, where].unique(dim=1).T) <= 1


def test_colour_stays_within_the_unit_interval_and_keeps_grey_grey():
    images = torch.rand(50, 1, 6, 6, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    found = KeyedView(crop=1.0, flip=0.0, erase=0.0, colour=0.9).alone(images, torch.arange(50, dtype=torch.int32))
    assert found.min() >= 0.0 and found.max() <= 1.0 and not torch.allclose(found, images, atol=0.1)
    torch.testing.assert_close(found[:, 0], found[:, 2])


def test_partners_are_each_others_and_differ_between_passes_whatever_the_order_of_the_data():
    source = Paired(items(), seed=3)
    batch = source.gather(np.arange(12), 1)
    of = {seed: partner for seed, partner in zip(batch[SEED].tolist(), batch["partner_seed"].tolist(), strict=True)}
    assert all(of[of[seed]] == seed != of[seed] for seed in of)
    inner = items()
    fields = {name: value[torch.arange(11, -1, -1)] for name, value in inner.source.fields.items()}
    turned = Paired(Seeded(TensorData(fields), SEED, seed=3), seed=3).gather(np.arange(12), 1)
    assert dict(zip(turned[SEED].tolist(), turned["partner_seed"].tolist(), strict=True)) == of
    other = source.gather(np.arange(12), 2)
    ids = [
        dict(zip(b["sample_id"].tolist(), map(tuple, b["partner"].flatten(1).tolist()), strict=True))
        for b in (batch, other)
    ]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("view", [KeyedView(mixup=0.8), KeyedView(cutmix=1.0), MIX])
def test_the_two_of_a_pair_are_mixed_alike_whichever_comes_first(view):
    images = torch.rand(2, 3, 10, 14, generator=torch.Generator().manual_seed(0))
    key = torch.tensor([5 ^ 9, 9 ^ 5], dtype=torch.int32)
    one, other = view.mixed(images, images.flip(0), key)
    # what one loses the other gains
    torch.testing.assert_close(one + other, images.sum(0), atol=1e-6, rtol=1e-6)
    swapped = view.mixed(images.flip(0), images, key)
    assert torch.equal(swapped, torch.stack([other, one]))
    assert not torch.equal(one, images[0])


def test_cutmix_pastes_a_box_and_mixup_blends_everywhere():
    black, white = torch.zeros(60, 1, 16, 16), torch.ones(60, 1, 16, 16)
    key = torch.arange(60, dtype=torch.int32)
    pasted = KeyedView(cutmix=1.0).mixed(black, white, key)
    assert set(pasted.unique().tolist()) == {0.0, 1.0}
    for image in pasted[:, 0].bool():
        rows, columns = image.any(1), image.any(0)
        assert torch.equal(image, rows[:, None] & columns)
    blended = KeyedView(mixup=1.0).mixed(black, white, key).flatten(1)
    assert torch.equal(blended.amin(1), blended.amax(1)) and blended[:, 0].std() > 0.2


def test_an_odd_number_of_images_has_no_pairs():
    with pytest.raises(ValueError, match="11 is an odd number"):
        Paired(items(11))


def test_a_view_reads_nothing_but_images_and_numbers():
    batch = items().gather(np.arange(4), 0)
    alone = KeyedView()(Signals({"input": batch["input"], SEED: batch[SEED]}))
    assert torch.equal(alone, KeyedView()(batch))
