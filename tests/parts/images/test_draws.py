"""Augmentations draw on the CPU whatever device they work on: an update looks the same on each."""

import pytest
import torch
from embodkd.policies.resnet_encoder import shifted as shifted_uint8

from embodkd.core import Signals
from embodkd.parts.images.augment import shifts
from embodkd.parts.images.mix import mixup
from embodkd.parts.images.style import mix_styles
from embodkd.parts.networks.patch_tokens import random_places

AUGMENTATIONS = {
    "mixup": mixup(0.4, 3),
    "mix_styles": mix_styles(0.4),
    "shifts": shifts(2),
    "places": random_places(4, 3),
    "shifted": lambda batch: {"input": shifted_uint8(batch["input"], 2)},
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_stream_of_the_cpu_moves_alike_on_every_device(name):
    images, label = torch.rand(6, 3, 8, 8), torch.arange(6) % 3
    after = []
    for device in ("cpu", "meta"):
        torch.manual_seed(0)
        start = torch.get_rng_state()
        found = AUGMENTATIONS[name](Signals({"input": images, "label": label}).to(device))
        assert all(value.device.type == device for value in found.values())
        after.append(torch.get_rng_state())
    assert torch.equal(*after) and not torch.equal(after[0], start)
