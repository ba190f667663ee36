"""Colours that do not matter: pictures standardised one by one, their colours mixed whenever one is learned from."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.batch.whole import drawn
from embodkd.core.transfer import sent

_FLOOR = 4.0  # of 255: noise of a channel without contrast is not blown up


def standardised(image_NCHW: Tensor) -> Tensor:
    """Each channel of each picture with mean 0 and deviation 128, as floats: what brightness and tint do is undone."""
    # sums round by the order of the pixels in memory, which is not the same for a part of a batch and a whole one
    image_NCHW = image_NCHW.float().contiguous()
    centred = image_NCHW - image_NCHW.mean((2, 3), keepdim=True)
    deviation = torch.sqrt((centred * centred).mean((2, 3), keepdim=True))
    return centred * (128.0 / (deviation + _FLOOR))


def mixed(image_NCHW: Tensor, strength: float) -> Tensor:
    """The channels of each picture mixed by a random matrix: 1 + `strength` times standard normal numbers, as floats.

    Drawn from torch's global generator.
    """
    count, channels = image_NCHW.shape[:2]
    noise = sent(drawn(count, lambda items: torch.randn(items, channels, channels)), image_NCHW.device)
    matrix = torch.eye(channels, device=noise.device) + strength * noise
    return torch.bmm(matrix, image_NCHW.float().flatten(2)).view(image_NCHW.shape)
