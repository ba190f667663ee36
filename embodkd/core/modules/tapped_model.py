"""A model whose taps are part of it: what they replace is replaced in every pass, wherever the model goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from embodkd.core.modules.identity import Probe, answer, require_same
from embodkd.core.modules.taps import Tap, tapped


class Tapped(nn.Module):
    """It answers as `model` does with these taps open; its parameters lie below `model.`.

    A role's taps hold for that role; these hold for evaluation, export and other roles too (attention whose weights are
    quantised). They replace by what they know themselves: `replace_from`, which reads a batch, is a ValueError.
    probe: given where the taps are to change nothing yet, which is asserted: in every bit, or within `tolerance` where
    fused attention is opened.
    """

    def __init__(
        self, model: nn.Module, taps: Mapping[str, Tap], *, probe: Probe | None = None, tolerance: float = 0.0
    ) -> None:
        super().__init__()
        self.model, self.taps = model, dict(taps)
        for name, tap in taps.items():
            if tap.replace_from is not None or tap.replace is None:
                raise ValueError(f"tap {name!r} of a tapped model needs replace, which reads the tensor alone")
        if hasattr(model, "reads"):
            self.reads = model.reads
        with tapped(model, self.taps):
            pass
        if probe is not None:
            require_same(answer(model, probe), answer(self, probe), tolerance, "taps that change nothing")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's answer with the taps open."""
        with tapped(self.model, self.taps):
            return self.model(*args, **kwargs)
