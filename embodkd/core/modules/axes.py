"""Channels of a network as axes of its parameters: which tensors have them, and how they are taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.modules.places import submodule
from embodkd.core.modules.taps import Tap

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# The axis of `weight` with the outputs, and the one with the inputs; a bias goes with the outputs.
_OUTPUT_AXIS: dict[Any, int] = {nn.Linear: 0, **dict.fromkeys(_CONVOLUTIONS, 0), nn.Embedding: 1, nn.LayerNorm: 0}
_INPUT_AXIS: dict[Any, int] = {nn.Linear: 1, **dict.fromkeys(_CONVOLUTIONS, 1)}


@dataclass(frozen=True)
class Axis:
    """An axis of the parameter `name` of `holder`."""

    holder: nn.Module
    name: str
    number: int

    @property
    def tensor(self) -> nn.Parameter:
        """The parameter as it is now."""
        found: nn.Parameter = getattr(self.holder, self.name)
        return found


def axes(model: nn.Module, side: str | Tap) -> list[Axis]:
    """The axes that hold the channels on one side of a layer: of its output, or with input=True of its input.

    Linear, convolution, embedding and LayerNorm have sides; a name may also be a parameter's, whose last axis is meant.
    ValueError for anything else.
    """
    name, input = (side, False) if isinstance(side, str) else (side.module, bool(side.input))
    at, _, last = name.rpartition(".")
    holder = dict(model.named_modules()).get(at)
    if holder is not None and isinstance(holder._parameters.get(last), nn.Parameter):
        return [Axis(holder, last, getattr(holder, last).ndim - 1)]
    layer = submodule(model, name)
    known = _INPUT_AXIS if input else _OUTPUT_AXIS
    number = next((axis for kind, axis in known.items() if isinstance(layer, kind)), None)
    if number is None or getattr(layer, "groups", 1) != 1 or getattr(layer, "weight", None) is None:
        raise ValueError(
            f"{name!r} is a {type(layer).__name__}, whose channels of the {'input' if input else 'output'} cannot be "
            "told from its weight; name linear layers, plain convolutions, embeddings, LayerNorms or parameters "
            "(nn.MultiheadAttention cannot lose heads or channels: its width is that of its heads)"
        )
    found = [Axis(layer, "weight", number)]
    if not input and getattr(layer, "bias", None) is not None:
        found.append(Axis(layer, "bias", 0))
    return found


@torch.no_grad()
def cut(model: nn.Module, places: Sequence[Axis], keep: Tensor, factors: Tensor | None = None) -> None:
    """Take all but the entries `keep` (whole numbers) out of the axes, multiplied by `factors` before.

    A parameter that several modules share is cut once, for all of them.
    """
    # Shared parameters are told apart before the first of them is exchanged.
    for axis in {(id(axis.tensor), axis.number): axis for axis in places}.values():
        old = axis.tensor
        value = old.data
        if factors is not None:
            value = value * factors.to(value).reshape([-1 if k == axis.number else 1 for k in range(value.ndim)])
        put_parameter(model, old, nn.Parameter(value.index_select(axis.number, keep), old.requires_grad))


def put_parameter(model: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    """`new` in the place of `old` wherever the model holds it."""
    for module in model.modules():
        for name, held in module._parameters.items():
            if held is old:
                module._parameters[name] = new


def take_shapes(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Give the parameters of `model` the shapes in `state` (of a fused network), so that it can be loaded.

    Values are lost where a shape changes. A parameter that `state` has not, or with other axes, is a ValueError.
    """
    for name, own in list(model.named_parameters()):
        if name not in state or state[name].ndim != own.ndim:
            raise ValueError(f"{name!r} of {tuple(own.shape)} cannot take its shape from this state")
        if state[name].shape != own.shape:
            put_parameter(model, own, nn.Parameter(own.new_empty(state[name].shape), own.requires_grad))
    refresh(model)


def refresh(model: nn.Module) -> None:
    """Make the numbers that layers and attentions keep about themselves those of their parameters."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.Embedding):
            module.num_embeddings, module.embedding_dim = module.weight.shape
        elif isinstance(module, nn.LayerNorm) and module.weight is not None:
            module.normalized_shape = tuple(module.weight.shape)
        elif isinstance(module, _CONVOLUTIONS):
            module.out_channels, module.in_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
        # Attention as transformers writes it.
        size = vars(module).get("head_dim", vars(module).get("attention_head_size"))
        query = module._modules.get("q_proj", module._modules.get("query"))
        if isinstance(size, int) and isinstance(query, nn.Linear):
            heads = query.weight.shape[0] // size
            now = {"num_heads": heads, "num_attention_heads": heads, "all_head_size": heads * size}
            vars(module).update({name: value for name, value in now.items() if name in vars(module)})
