"""The camera encoder: rows by themselves, any image size, shifts that move pixels and change none."""

import pytest
import torch
from embodkd.policies.resnet_encoder import ResNetEncoder, shifted


def images(count=3, side=20, channels=3):
    return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)


@pytest.mark.parametrize("side", [32, 48, 84])
def test_any_image_size_and_every_row_by_itself(side):
    encoder = ResNetEncoder(3, 64).train()
    seen = images(side=side)
    with torch.no_grad():
        features = encoder(seen)
        rows = torch.cat([encoder(seen[i : i + 1]) for i in range(3)])
    assert features.shape == (3, 64)
    torch.testing.assert_close(features, rows, atol=1e-5, rtol=1e-4)


def test_a_shift_moves_each_image_by_whole_pixels_and_repeats_the_border():
    seen, most = images(count=40), 3
    moved = shifted(seen, most)
    assert moved.dtype == torch.uint8 and moved.shape == seen.shape
    places = set()
    for before, after in zip(seen, moved, strict=True):
        padded = torch.nn.functional.pad(before[None].float(), (most,) * 4, mode="replicate")[0].to(torch.uint8)
        found = [
            (y, x)
            for y in range(2 * most + 1)
            for x in range(2 * most + 1)
            if torch.equal(padded[:, y : y + 20, x : x + 20], after)
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 20


def test_nothing_moves_when_acting():
    encoder, seen = ResNetEncoder(3, 8, shift=4), images(side=32)
    with torch.no_grad():
        assert not torch.equal(encoder.train()(seen), encoder(seen))
        assert torch.equal(encoder.eval()(seen), encoder(seen))
