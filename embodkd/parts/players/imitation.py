"""Imitating actions by whatever loss the student has: its own, or smooth L1 of its mean action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from embodkd.core.optimiser import Optimiser
from embodkd.core.recipe import Player
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.terms import smooth_l1


class OwnLoss(nn.Module):
    """A policy with a `loss(obs, actions_NHA)` whose forward pass is that loss, on several processes too.

    kept: the field that says which actions of a chunk count, where some do not; the loss takes it too.
    """

    def __init__(self, student: Any, field: str, kept: str | None = None) -> None:
        super().__init__()
        self.student, self.field, self.kept = student, field, kept
        # A student that was loaded stands in evaluation mode: so does this, and its role trains both.
        self.train(student.training)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """One value per item, (N,); single actions (N, A) are chunks of one."""
        actions = batch[self.field]
        more = () if self.kept is None else (batch[self.kept],)
        loss: Tensor = self.student.loss(batch, actions if actions.ndim == 3 else actions.unsqueeze(1), *more)
        return loss


def one_action(student: Any, where: str) -> None:
    """ValueError if `student` plans chunks of actions, of which a collection along its own states has no labels."""
    horizon = getattr(student, "horizon", 1)
    if horizon > 1:
        raise ValueError(
            f"{where}: the student plans {horizon} actions at once, and a teacher labels one per state; choose "
            "student.horizon=1 (which a diffusion policy has not), or imitate the teacher's recordings: embodkd record "
            "policy=..., distill student demos=..."
        )


def imitator(student: Any, field: str, optimiser: Optimiser, *, beta: float = 0.1, kept: str | None = None) -> Player:
    """The player that learns the actions in the batch's `field` by the term "imitate".

    A student with a `loss` of its own is judged by it, on those actions of a chunk that the field `kept` keeps (None:
    all), any other by smooth L1 with threshold `beta`.
    """
    if hasattr(student, "loss"):

        def own(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"imitate": s.imitate_N}

        fields = (field,) if kept is None else (field, kept)
        role = Role(OwnLoss(student, field, kept), view=(*student.reads, *fields), output="imitate")
        return Player(role, own, optimiser=optimiser)

    def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
        return {"imitate": smooth_l1(s.action_NA, batch[field], beta=beta)}

    return Player(Role(student, output="action"), terms, optimiser=optimiser)
