"""A step by which a network begins with the weights of a larger one of its kind."""

from __future__ import annotations

from typing import Any

from embodkd.core import Context, evenly, inherit


class Inherit:
    """Every layer of `model` is one of `source`, evenly from the first one on, and the leading slice of each tensor.

    A model names its lists of layers as `stacks`. ValueError, when the step is taken, for a tensor that cannot be had.
    """

    def __init__(self, model: Any, source: Any) -> None:
        self.model, self.source = model, source

    def __call__(self, context: Context) -> None:
        """Take them over."""
        model, source = self.model, self.source
        depth = {stack: [len(m.get_submodule(stack)) for m in (source, model)] for stack in model.stacks}
        left = inherit(model, source, layers={stack: evenly(*two) for stack, two in depth.items()})
        if left:
            raise ValueError(
                f"{left[0]} and {len(left) - 1} more cannot be inherited from a {type(source).__name__}: give the "
                f"{type(model).__name__} the same patch, head and joint, and nothing that is wider or deeper"
            )
