"""The U-Net: published sizes, lengths, a scale without "1 +", each output row from its own input row."""

import pytest
import torch
from embodkd.policies.unet import ConditionalUnet1d, ResidualBlock, time_features


@pytest.mark.parametrize(
    ("widths", "condition", "size"),
    [
        ((256, 512, 1024), 58, 66_055_690),
        ((256, 512, 1024), 44, 65_854_986),
        ((256, 512, 1024), 37, 65_754_634),
        ((256, 512, 1024), 272, 69_123_594),
        ((64, 128, 256), 58, 5_480_266),
        ((64, 128, 256), 30, 5_379_914),
    ],
)
def test_published_sizes(widths, condition, size):
    with torch.device("meta"):
        network = ConditionalUnet1d(10, condition, widths)
    assert sum(p.numel() for p in network.parameters()) == size


def test_without_film_a_block_forgets_its_input():
    block = ResidualBlock(8, 16, context=5)
    torch.nn.init.zeros_(block.film[1].weight)
    torch.nn.init.zeros_(block.film[1].bias)
    context = torch.randn(2, 5)
    inner = [block(x, context) - block.skip(x) for x in torch.randn(2, 2, 8, 12)]
    torch.testing.assert_close(inner[0], inner[1])


def test_the_first_half_of_film_scales_and_the_second_shifts():
    block = ResidualBlock(8, 8, context=3)
    block.second = torch.nn.Identity()
    torch.nn.init.zeros_(block.film[1].weight)
    block.film[1].bias.data = torch.cat([torch.full((8,), 3.0), torch.full((8,), 0.5)])
    x = torch.randn(2, 8, 12)
    torch.testing.assert_close(block(x, torch.randn(2, 3)) - x, 3.0 * block.first(x) + 0.5)


def test_lengths_are_halved_between_levels_and_come_back():
    network, lengths = ConditionalUnet1d(3, 4, (8, 16, 24)), []
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_hook(lambda _, args, out: lengths.append(out.shape[2]))
    assert network(torch.randn(2, 32, 3), torch.zeros(2), torch.randn(2, 4)).shape == (2, 32, 3)
    assert lengths == [32, 32, 16, 16, 8, 8, 8, 8, 8, 8, 16, 16]


def test_noise_levels_are_sines_then_cosines():
    features = time_features(torch.tensor([0.0, 7.0])).double()
    assert features[0].tolist() == [0.0] * 128 + [1.0] * 128
    slow = 7.0 * 10_000.0 ** (-torch.arange(128, dtype=torch.float64) / 127)
    torch.testing.assert_close(features[1], torch.cat([slow.sin(), slow.cos()]), atol=1e-5, rtol=0)


def test_rows_do_not_see_each_other():
    network = ConditionalUnet1d(3, 4, (8, 16)).eval()
    noisy, level, condition = torch.randn(4, 8, 3), torch.arange(4.0), torch.randn(4, 4)
    rows = torch.cat([network(noisy[i : i + 1], level[i : i + 1], condition[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(rows, network(noisy, level, condition), atol=1e-5, rtol=1e-5)


def test_widths_that_cannot_be_grouped_are_refused():
    with pytest.raises(ValueError, match="multiple of 8, got \\[12, 16\\]"):
        ConditionalUnet1d(3, 4, (12, 16))
