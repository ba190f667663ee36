"""How good a classifier is while it learns, by the validation part."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import Context, Every, Role, Source, collect

EARLY = 0.3
"""The first part of training, over which the area under the curve is taken."""


class LearningCurve(nn.Module):
    """A step within stages: the accuracy of `student`, in percent, after chosen updates of all `total`.

    It is asked as it is: without taps, in evaluation mode. What it has seen lies in buffers, so that the players whose
    helper this is checkpoint it. keep_best: keep the first of the best states, too, which `verdict` puts back.
    """

    percent_K: Tensor

    def __init__(
        self, student: nn.Module, validation: Source, total: int, evaluations: int, *, keep_best: bool = False
    ) -> None:
        super().__init__()
        self._asked, self._validation, self._total = Role(student, "frozen"), validation, total
        self.update_K = np.linspace(0, total, min(evaluations, total) + 1).round().astype(int)[1:]
        self.register_buffer("percent_K", torch.zeros(len(self.update_K)))
        self.best = copy.deepcopy(student).requires_grad_(False) if keep_best else None

    def every(self, first: int, last: int) -> Sequence[Every]:
        """As `Stage.every` of a stage that makes the updates behind the first-th up to the last-th of all."""
        own = [int(at) - first for at in self.update_K if first < at <= last]
        return (Every(own, self),) if own else ()

    def forward(self, context: Context) -> dict[str, float]:
        """Ask the student; the accuracy, for the log."""
        at = int(np.searchsorted(self.update_K, context.update))
        s = collect(self._asked, self._validation, device=context.device)
        percent = 100.0 * float((s.logits_NC.argmax(1) == s.label_N).double().mean())
        # Once more, after a resume, it is compared with what came before it only.
        if self.best is not None and percent > max([-1.0, *self.percent_K[:at].tolist()]):
            self.best.load_state_dict(self._asked.model.state_dict())
        self.percent_K[at] = percent
        return {"validation/accuracy": percent}

    def verdict(self, context: Context) -> dict[str, float]:
        """The last step: area (mean accuracy over the early part), final and best accuracy."""
        percents = self.percent_K.tolist()
        early = max(1, int((self.update_K <= EARLY * self._total).sum()))
        if self.best is not None:
            self._asked.model.load_state_dict(self.best.state_dict())
        return {"area": sum(percents[:early]) / early, "final": percents[-1], "best": max(percents)}
