"""A running average of a module as its teacher, asked with gradients to what it is asked about."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch import nn

from embodkd.core import Role, Signals
from embodkd.core.modules.modes import evaluating
from embodkd.core.view import View


class Momentum:
    """average <- decay * average + (1 - decay) * followed after each update, so before each forward pass but the first,
    at which both are the same. Its parameters never get a gradient; with `detach` what it is asked about does not
    either, through it.
    """

    def __init__(self, follow: nn.Module, decay: float, *, view: View, detach: bool = False) -> None:
        average = copy.deepcopy(follow).requires_grad_(False)
        self.role = Role(average, "ema", follow=follow, decay=decay, view=view)
        self.detach = detach

    def roles(self) -> Iterator[Role]:
        """The one that the trainer moves."""
        yield self.role

    def signals(self, batch: Signals) -> Signals:
        """Its answer, in evaluation mode."""
        if self.detach:
            return self.role.signals(batch)
        with evaluating(self.role.model):
            return Signals(self.role.model(self.role.view(batch)))
