"""Fake quantisers with straight-through gradients, and layers that compute through them under their old names.

A quantised layer is the same layer to `state_dict`: it loads a plain one's weights and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embodkd.core.modules.identity import Probe, unmoved
from embodkd.core.modules.swap import exchange, matching

Quantiser = Callable[[Tensor], Tensor]


def straight_through(x: Tensor, quantised: Tensor, clip: float) -> Tensor:
    """The value of `quantised`; the gradient goes to x where |x| < clip, and nowhere else."""
    return quantised.detach().to(x.dtype) + torch.where(x.detach().abs() < clip, x - x.detach(), 0.0)


def ternary(x: Tensor, clip: float = 2.5, factor: float = 0.7, rows: bool = False) -> Tensor:
    """Ternary weights (TWN): a * sign(x) where |x| > factor * mean |x|, zero elsewhere, of x clipped to +-clip.

    a is the mean magnitude of what is kept, which is the least-squares one for this support. One a for the whole
    tensor, or with rows=True one per row (the last axis). Zeros stay zeros.
    """
    c = _exactly(x).clamp(-clip, clip)
    axes = [-1] if rows else list(range(c.ndim))
    size = c.abs()
    kept = size > factor * size.mean(axes, keepdim=True)
    a = (size * kept).sum(axes, keepdim=True) / kept.sum(axes, keepdim=True).clamp(min=1)
    return straight_through(x, a * c.sign() * kept, clip)


def ternary_rows(x: Tensor) -> Tensor:
    """`ternary` with a scale of its own for every row: embeddings."""
    return ternary(x, rows=True)


def eight_bit(x: Tensor, clip: float = 2.5, bits: int = 8) -> Tensor:
    """Symmetric, dynamic, one scale per tensor: clipped to +-clip, then round(c s) / s with s = 127 / max |c|.

    Half to even. Zeros stay zeros, and so does a tensor without a magnitude above 1e-36, which has no scale.
    """
    c = _exactly(x).clamp(-clip, clip)
    peak = c.abs().amax()
    s = (2 ** (bits - 1) - 1) / torch.where(peak < 1e-36, torch.ones_like(peak), peak)
    return straight_through(x, (c * s).round() / s, clip)


def _exactly(x: Tensor) -> Tensor:
    """x without its gradient, in a precision in which means and scales are no coarser than the steps."""
    return x.detach().float() if x.dtype in (torch.float16, torch.bfloat16) else x.detach()


class Quantised(nn.Module):
    """What quantised layers share: the quantisers of weight, input and output (None leaves as it is), and a switch."""

    quantisers: tuple[Quantiser | None, Quantiser | None, Quantiser | None]
    quantised: bool

    def _through(self, at: int, x: Tensor) -> Tensor:
        quantiser = self.quantisers[at] if self.quantised else None
        return x if quantiser is None else quantiser(x)


class QuantisedLinear(Quantised, nn.Linear):
    """A linear layer that quantises its weight, its input and its output; its bias is never quantised."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        answer = F.linear(self._through(1, input), self._through(0, self.weight), self.bias)
        return self._through(2, answer)


class QuantisedEmbedding(Quantised, nn.Embedding):
    """An embedding that quantises its table, and what it looked up."""

    def forward(self, input: Tensor) -> Tensor:
        """(...) whole numbers to (..., dim)."""
        table = self._through(0, self.weight)
        found = F.embedding(
            input, table, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )
        return self._through(2, found)


_KINDS: dict[type[nn.Module], type[QuantisedLinear | QuantisedEmbedding]] = {
    nn.Linear: QuantisedLinear,
    nn.Embedding: QuantisedEmbedding,
}


def quantise(
    model: nn.Module,
    patterns: str | Sequence[str],
    *,
    weight: Quantiser | None = ternary,
    input: Quantiser | None = None,
    output: Quantiser | None = None,
    probe: Probe | None = None,
) -> list[str]:
    """Quantise the linear layers and embeddings whose names match a pattern, in place; their names.

    Parameters stay the same objects under the same names. Switched off (`set_quantised`) the model answers as before,
    in every bit: asserted on the probe.
    """
    names = [n for n in matching(model, patterns, tuple(_KINDS)) if type(model.get_submodule(n)) in _KINDS]

    def quantised(module: nn.Module) -> nn.Module:
        # The same layer with another forward pass: its fields, parameters and hooks are kept.
        kind = _KINDS[type(module)]
        fresh = kind.__new__(kind)
        fresh.__dict__.update(module.__dict__)
        fresh._parameters = dict(module._parameters)
        fresh.quantisers, fresh.quantised = (weight, input, output), False
        return fresh

    with unmoved(model, probe, 0.0, "quantise, switched off"):
        exchange(model, names, quantised)
    set_quantised(model, True, names)
    return names


def set_quantised(model: nn.Module, on: bool, names: Sequence[str] | None = None) -> None:
    """Switch all quantised layers of a model, or the named ones, on or off; off, they are plain layers."""
    for name, module in model.named_modules():
        if isinstance(module, Quantised) and (names is None or name in names):
            module.quantised = on
