"""Who is asked, in which order, and what need not be asked twice for one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embodkd.core.recipe import Answers, Player
from embodkd.core.role import Role
from embodkd.core.signals import Signals, Watched


class Answered:
    """The answers about one batch, or one piece of it, each kept with the tensors that it was made from.

    Whoever asks again with the same tensors in these fields gets the same answer, whatever other fields there are.
    What cannot change while a batch is worked through (`fixed` answerers: frozen roles, banks) is kept until the end,
    what learns until `turn` says that it has moved.
    """

    def __init__(self) -> None:
        self._fixed: dict[int, list[tuple[Watched, Signals]]] = {}
        self._learned: dict[int, list[tuple[Watched, Signals]]] = {}

    def turn(self) -> None:
        """Forget what learners answered."""
        self._learned.clear()

    def ask(self, answerer: Answers, batch: Signals) -> Signals:
        """Its signals for `batch`."""
        if getattr(answerer, "fixed", False):
            kept = self._fixed
        elif isinstance(answerer, Role) and answerer.trains:
            kept = self._learned
        else:
            return answerer.signals(batch)
        answers = kept.setdefault(id(answerer), [])
        for watched, signals in answers:
            if watched.holds_for(batch):
                return signals
        watched = Watched(batch)
        answers.append((watched, answerer.signals(watched)))
        return answers[-1][1]


def in_order(
    player: Player, batch: Signals, student: Callable[[Signals], Signals], ask: Callable[[Any, Signals], Signals]
) -> tuple[Signals, dict[str, Signals]]:
    """The student's signals and those of each given answerer: `first`, the student ("s"), then the others in order.

    Each sees in its batch the answers before its own, as fields "NAME.SIGNAL".
    """
    given: dict[str, Signals] = {}
    for name in player.first:
        given[name] = ask(player.given[name], batch)
        batch = _shown(batch, name, given[name])
    s = student(batch)
    if len(given) < len(player.given):
        batch = _shown(batch, "s", s)
    for name, answerer in player.given.items():
        if name not in given:
            given[name] = ask(answerer, batch)
            batch = _shown(batch, name, given[name])
    return s, {name: given[name] for name in player.given}


def _shown(batch: Signals, name: str, signals: Signals) -> Signals:
    return batch.merge(**{f"{name}.{key}": value for key, value in signals.items()})
