"""Networks of a given kind with other constructor arguments, and a module that becomes one of them during a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.config.schema import build
from embodkd.core.rng import seeded


def variant(model: nn.Module, where: str, *key: int, **arguments: Any) -> Any:
    """A network of `model`'s class with its `arguments` and for the same data, changed by `arguments`.

    Parameters and buffers of the same name and shape start as they are in `model`, the others from random weights that
    depend on `key` alone: the same arguments give the same network. ValueError, beginning with `where`, if the class
    does not take them, or if `model` was not made by `make_model` and does not know its own.
    """
    own, facts = getattr(model, "arguments", None), getattr(model, "facts", None)
    if own is None or facts is None:
        raise ValueError(f"{where}: a {type(model).__name__} does not know what it was made from; use make_model")
    options = {**own, **arguments}
    with seeded(*key):
        made: Any = build(type(model), options, where, **facts())
    made.arguments = options
    wanted = made.state_dict()
    alike = {name: v for name, v in model.state_dict().items() if name in wanted and wanted[name].shape == v.shape}
    made.load_state_dict({**wanted, **alike})
    return made


def parameter_count(model: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class Chosen(nn.Module):
    """A network that is not known before the run has chosen it: `make(choice)`, for a tuple of integers >= 0.

    The choice is part of the state, so that loading weights into a new one builds the right network first. It answers
    only after `choose`. like: the model whose view it has.
    """

    choice: Tensor

    def __init__(self, make: Callable[[tuple[int, ...]], nn.Module], places: int, like: nn.Module) -> None:
        super().__init__()
        self.reads = getattr(like, "reads", "input")
        self._make = make
        self.register_buffer("choice", torch.full((places,), -1))

    def choose(self, choice: Sequence[int]) -> nn.Module:
        """Become `make(choice)`."""
        self.choice.copy_(torch.tensor(choice))
        self.net = self._make(tuple(choice)).to(self.choice.device)
        return self.net

    def forward(self, x: Tensor) -> Any:
        """The chosen network's answer."""
        return self.net(x)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        choice = state_dict.get(f"{prefix}choice")
        if choice is not None and min(choice.tolist()) >= 0:
            self.choose(choice.tolist())
        super()._load_from_state_dict(state_dict, prefix, *rest)
