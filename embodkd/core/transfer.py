"""What travels between the host's memory and a card's, without anybody waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor

_HOST = "_on_host"


def sent(value: Tensor, to: Tensor | torch.device | str) -> Tensor:
    """`value` on a device, or on another tensor's and in its type; a card fetches it while the host goes on.

    What the host has is not to be changed afterwards: `on_host` finds it again.
    """
    device, dtype = (to.device, to.dtype) if isinstance(to, Tensor) else (torch.device(to), value.dtype)
    if value.device.type != "cpu" or device.type == "cpu":
        # a copy to the host that nobody waits for is not there yet when it is read
        return value.to(device, dtype)
    host = value.to(dtype)
    # from other memory than this a copy begins when the card has done all that it was asked for
    pinned = host.pin_memory() if device.type == "cuda" else host
    return remembered(pinned.to(device, non_blocking=True), host)


def remembered(moved: Tensor, host: Tensor) -> Tensor:
    """`moved`, of which `host`, in the host's memory, has the same numbers."""
    setattr(moved, _HOST, host)
    return moved


def on_host(value: Tensor) -> Tensor:
    """`value` in the host's memory: what was `sent`, where it was; else a copy, which waits for the card."""
    known: Tensor | None = getattr(value, _HOST, None)
    return value.cpu() if known is None else known
