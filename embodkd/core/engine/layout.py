"""How weights lie in memory: with channels last, where convolutions over pictures take least time."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from embodkd.core.sharded import is_sharded

_BLOCK = 16  # channels that the widest vectors hold


def channels_last(modules: Iterable[nn.Module]) -> None:
    """Lay the weights of convolutions over pictures out with channels last; what flows through them follows by itself.

    Shapes and files stay as they are, sums are rounded in another order. Where one of the modules has a layer that
    torch's library does not manage in this layout (`_fails`), all of them have torch's own, since it may read the
    others' signals: those too that an earlier stage laid out. So have they where a weight lies in parts on several
    processes.
    """
    layers = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    parts = {layer for layer in layers if is_sharded(layer.weight)}
    layout = torch.contiguous_format if parts or any(map(_fails, layers)) else torch.channels_last
    for layer in layers:
        if layer in parts:
            continue  # its part lies in torch's own
        layer.to(memory_format=layout)  # type: ignore[call-overload] # torch's stub forgets it


def _fails(layer: nn.Conv2d) -> bool:
    """Whether its gradient may be written past the end of its memory: oneDNN's issue 6035."""
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels // layer.groups < _BLOCK
