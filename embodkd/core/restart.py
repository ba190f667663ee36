"""A step that starts a model anew: the second fit of a recipe that learns twice begins where the first one did."""

from __future__ import annotations

from torch import nn

from embodkd.core.recipe import Context


class Restart:
    """Puts `model` back to the weights and buffers that it has now, when the recipe is written.

    A model whose first weights are pretrained goes back to those. A resumed run that is already past the step has
    nothing to do: its weights are in the checkpoint.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._first = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def __call__(self, context: Context) -> None:
        """Put the weights back."""
        self.model.load_state_dict(self._first)
