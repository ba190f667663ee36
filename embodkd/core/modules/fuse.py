"""Fusing: the gates of a network multiplied into its weights, and what they shut taken out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from embodkd.core.modules.axes import cut, refresh
from embodkd.core.modules.gates import Gated
from embodkd.core.modules.identity import Probe, answer, require_same
from embodkd.core.modules.places import submodule
from embodkd.core.modules.spans import Shift
from embodkd.core.modules.taps import Tap, tapped


@torch.no_grad()
def fuse(
    gated: Gated,
    *,
    probe: Probe | None = None,
    blocks: Mapping[str, Sequence[str]] | None = None,
    tolerance: float = 1e-5,
) -> nn.Module:
    """A copy of the model with the gates of evaluation multiplied into its weights, and what they shut taken out.

    Of gates that are all shut one channel (head) stays, with zero weights. blocks: name of a block -> names of its
    gates; where all of these are shut, the block adds a constant, and becomes a `Shift` (this needs the probe).
    It answers as the gated model in evaluation mode: asserted on the probe. A transformers model keeps its config, so
    that it is loaded through `take_shapes`, not by `from_pretrained`.
    """
    model = copy.deepcopy(gated.model)
    masks = {name: gate.mask() for name, gate in gated.hard_concrete()}
    for name, place in gated.places.items():
        z = masks[name]
        open_gates = z.nonzero().flatten() if z.any() else z.new_zeros(1, dtype=torch.long)
        keep = (open_gates[:, None] * place.each + torch.arange(place.each, device=z.device)).flatten()
        multiplied, others = place.multiplied(model), place.only_cut(model)
        cut(model, multiplied, keep, z.repeat_interleave(place.each))
        cut(model, others, keep)
    refresh(model)
    dead = [block for block, names in (blocks or {}).items() if not any(masks[name].any() for name in names)]
    for block in dead:
        if probe is None:
            raise ValueError(f"block {block!r} is shut as a whole: fusing it to a constant needs the probe")
        _to_shift(model, block, probe)
    require_same(answer(gated, probe), answer(model, probe), tolerance, "fused, against the gated network")
    return model


def _to_shift(model: nn.Module, block: str, probe: Probe) -> None:
    zero: dict[str, str | Tap] = {"in": Tap(block, input=True, replace=torch.zeros_like), "out": block}
    with tapped(model, zero) as captured:
        answer(model, probe)
    added = captured["out"].flatten(0, -2)[0].clone()
    holder, _, name = block.rpartition(".")
    submodule(model, holder)._modules[name] = Shift(added)
