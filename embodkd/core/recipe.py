"""Players, stages and recipes: who learns what, on which data, in which order. Everything here is plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Count
from embodkd.core.config.registry import near
from embodkd.core.config.schema import build
from embodkd.core.optimiser import Optimiser
from embodkd.core.role import Role, roles_of
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source
from embodkd.core.transfer import remembered
from embodkd.core.weights.schedule import Schedule, schedule
from embodkd.core.weights.weight import Controller, Weight, as_weight

Terms = Callable[..., Mapping[str, Tensor]]
Prepare = Callable[[Signals], Mapping[str, Tensor]]


class Answers(Protocol):
    """Whatever gives signals for a batch: a Role, a bank, a difference of two.

    One with an attribute `fixed` that is true is asked once per batch, however many players want to know.
    """

    def signals(self, batch: Signals) -> Signals:
        """The signals for `batch`."""
        ...


class Through(Protocol):
    """Another objective in the place of a player's own forward pass: what `meta.Unroll` is."""

    def signals(self, batch: Signals, step: int, total: int) -> tuple[Signals, Signals]:
        """The batch and the signals that the player's terms are to judge, differentiable in its parameters."""
        ...


@dataclass(frozen=True)
class Player:
    """One learner: a role, its objective and its optimiser.

    terms: `terms(batch, s, **given)` -> {name: one value per item, (N,)}, where s are the signals of `train` and each
    entry of `given` the signals of that role, bank or other answerer. A given role that learns in another player is
    seen without gradient; one with this player's own model (a second view of the same student) with it.
    first: names of those in `given` that are asked before the student, in this order; the others are asked after it.
    Whoever is asked sees the former answers as fields "NAME.SIGNAL" of its batch, the student's as "s.SIGNAL".
    mass: term -> the field of the batch that says what its mean is over, in place of the items: a mask of the term's
    own shape, which then has one value per position, (N, T, ...), or amounts (N,) for a term with one value per item.
    logged: terms that are logged and not learned from.
    weights: term name -> number, schedule, or function of the same arguments that gives one weight per item; or a
    Controller that sees what the terms come to.
    helpers: trainable modules that only training needs (projectors, heads); they learn with the role and are dropped.
    every: play in each k-th update only; when: asked before each of these, play only if it says so (what it decides by
    must be checkpointed: buffers of a helper or controller); ascent: climb instead of descend.
    through: learn by the effect on another player's next step (see meta.Unroll) instead of on the batch itself.
    scheduled: name -> number or schedule over the stage's updates, for what changes inside a term (a temperature), or
    "update", the number of the update itself; all who are asked, terms and weights read it as a field of the batch,
    (N,), the same for every item.
    keep_moments: what its optimiser remembers goes on in the next stage that has a player of this name, for the
    parameters that both move.
    """

    train: Role
    terms: Terms
    given: Mapping[str, Answers] = field(default_factory=dict)
    weights: Mapping[str, float | Mapping[str, Any] | Weight] | Controller = field(default_factory=dict)
    helpers: Mapping[str, nn.Module] = field(default_factory=dict)
    optimiser: Optimiser = field(default_factory=Optimiser)
    every: int = 1
    when: Callable[[], bool] | None = None
    ascent: bool = False
    through: Through | None = None
    scheduled: Mapping[str, float | Mapping[str, Any] | Schedule | Literal["update"]] = field(default_factory=dict)
    first: Sequence[str] = ()
    mass: Mapping[str, str] = field(default_factory=dict)
    logged: Sequence[str] = ()
    keep_moments: bool = False
    name: str = "student"

    def __post_init__(self) -> None:
        if not self.train.trains:
            raise ValueError(f'player {self.name!r}: its own role must be a "train" role, not {self.train.part!r}')
        if self.every < 1:
            raise ValueError(f"player {self.name!r}: every must be at least 1, got {self.every}")
        self.ready_weights()
        self.curves()
        for name in self.first:
            if name not in self.given:
                raise ValueError(f"player {self.name!r}: first: it is given no {name!r}: {near(name, self.given)}")
        if self.through is not None and (self.first or self.mass):
            raise ValueError(f"player {self.name!r}: learns through another one: no first and no mass")

    def ready_weights(self) -> dict[str, Weight]:
        """The weights of single terms, short forms resolved."""
        if isinstance(self.weights, Controller):
            return {}
        return {name: as_weight(value, f"weights.{name}") for name, value in self.weights.items()}

    def curves(self) -> dict[str, Schedule]:
        """The scheduled numbers that follow a curve, short forms resolved."""
        return {name: schedule(v, f"scheduled.{name}") for name, v in self.scheduled.items() if v != "update"}

    def plays(self, step: int) -> bool:
        """Whether update `step` is one of its own."""
        return step % self.every == 0 and (self.when is None or self.when())

    def at(self, batch: Signals, step: int, total: int) -> Signals:
        """`batch` with the scheduled numbers of update `step` of `total`."""
        if not self.scheduled:
            return batch
        first = next(iter(batch.values()))
        numbers = dict.fromkeys(self.scheduled, float(step)) | {
            name: curve.at(step, total) for name, curve in self.curves().items()
        }
        count, device = len(first), first.device
        fields = {name: torch.full((count,), value, device=device) for name, value in numbers.items()}
        if device.type != "cpu":
            for name, value in numbers.items():
                remembered(fields[name], torch.tensor(value).expand(count))
        return batch.merge(**fields)

    def named_parameters(self, *, fixed: bool = False) -> dict[str, nn.Parameter]:
        """Everything that this player's optimiser moves, each once: by the student's own names, then "helper.NAME.own".

        fixed: those that do not learn now, too. ValueError where a name of the student's begins like a helper's.
        """
        found: dict[str, nn.Parameter] = {}
        for start, module in {"": self.train.model, **{f"helper.{n}.": m for n, m in self.helpers.items()}}.items():
            for name, parameter in module.named_parameters():
                if start + name in found:
                    raise ValueError(
                        f"player {self.name!r}: two parameters are called {start + name!r}: rename a helper"
                    )
                found[start + name] = parameter
        once = {id(p): name for name, p in reversed(found.items())}  # the first name of one that two modules share
        return {name: p for name, p in found.items() if once[id(p)] == name and (fixed or p.requires_grad)}

    def parameters(self) -> list[nn.Parameter]:
        """Everything that this player's optimiser moves."""
        return list(self.named_parameters().values())

    def learning_modules(self) -> Iterator[nn.Module]:
        """The modules whose state training changes: the role, running averages among the given, the helpers."""
        yield self.train.model
        for answerer in self.given.values():
            for role in roles_of(answerer):
                if role.part in ("train", "ema", "snapshot"):
                    yield role.model
        yield from self.helpers.values()
        if isinstance(self.weights, Controller):
            yield self.weights


@dataclass(frozen=True)
class Context:
    """What a step without gradients gets: where to write, the run's seed and device, its updates so far."""

    folder: Path | None
    seed: int
    device: torch.device
    update: int = 0


Step = Callable[[Context], Mapping[str, float] | None]
"""A stage without gradients. One that has a method `restore(context)` gets that call instead when a resumed run is
already past it: it reads back what it left in the folder."""


@dataclass(frozen=True)
class Every:
    """`step` is taken after each `updates`-th update of its stage, or after these updates alone, counted from 1.

    It comes before anything is saved. A killed run takes those again that came after its newest checkpoint: a step
    twice must be as good as once.
    """

    updates: int | Sequence[int]
    step: Step

    def __post_init__(self) -> None:
        least = self.updates if isinstance(self.updates, int) else min(self.updates, default=1)
        if least < 1:
            raise ValueError(f"every: updates must be at least 1, got {least}")

    def due(self, update: int) -> bool:
        """Whether it is to be taken when so many updates of the stage are done."""
        return update % self.updates == 0 if isinstance(self.updates, int) else update in self.updates


@dataclass(frozen=True)
class Stage:
    """Players that learn from one source.

    A round is: refill the source if its `refresh` says so, then `epochs` passes over all items in random order.
    `updates_per_round` replaces the passes by a fixed number of updates; a source refreshed at every step needs it.
    in_turn: each player looks at what the former just changed, instead of all looking at the same weights.
    prepare: functions of the batch that give new fields (adversarial inputs, mixes, noise), called once per batch in
    this order, each seeing the former's fields; all players and roles then see the same ones.
    every: steps without gradients that are taken within the stage, see `Every`.
    """

    players: Sequence[Player]
    source: Source
    rounds: int = 1
    epochs: int = 1
    batch_size: int = 256
    updates_per_round: int | None = None
    in_turn: bool = False
    prepare: Sequence[Prepare] = ()
    every: Sequence[Every] = ()
    name: str = "fit"

    def __post_init__(self) -> None:
        for what in ("rounds", "epochs", "batch_size"):
            if getattr(self, what) < 1:
                raise ValueError(f"stage {self.name!r}: {what} must be at least 1, got {getattr(self, what)}")
        if not self.players:
            raise ValueError(f"stage {self.name!r} has no players")
        if self.source.refresh not in Source.REFRESH:
            known = ", ".join(Source.REFRESH)
            raise ValueError(f"stage {self.name!r}: refresh {self.source.refresh!r} is not one of {known}")
        if self.source.refresh == "step" and self.updates_per_round is None:
            raise ValueError(f"stage {self.name!r}: a source refreshed at every step needs updates_per_round")

    def updates(self) -> int:
        """How many updates the whole stage has."""
        return sum(self.updates_in(r) for r in range(self.rounds))

    def updates_in(self, round_: int) -> int:
        """How many updates round number `round_` has."""
        if self.updates_per_round is not None:
            return self.updates_per_round
        size = self.source.planned_size(0 if self.source.refresh == "never" else round_)
        return self.epochs * -(-size // self.batch_size)


@dataclass(frozen=True)
class Recipe:
    """Stages in order, each starting from what the former left, and the model that comes out of them.

    A stage may also be a step without gradients: a function of a Context (fill a bank, prune, fine-tune elsewhere)
    that returns numbers worth logging. If a kill interrupts it, it is called again from its beginning.
    """

    stages: tuple[Stage | Step, ...]
    product: nn.Module

    def __post_init__(self) -> None:
        stages = [stage.players for stage in self.stages if isinstance(stage, Stage)]
        for name in {player.name for players in stages for player in players if player.keep_moments}:
            own = [[player for player in players if player.name == name] for players in stages]
            if any(len(several) > 1 for several in own):
                raise ValueError(f"player {name!r}: keep_moments, and two of one stage are called so: rename one")
            for before, after in pairwise(player for several in own for player in several):
                kinds = before.optimiser.name, after.optimiser.name
                if before.keep_moments and "sgd" in kinds and kinds[0] != kinds[1]:
                    raise ValueError(
                        f"player {name!r}: keep_moments, but {kinds[1]} cannot go on with what {kinds[0]} remembers: "
                        "give both stages the same optimiser.name"
                    )

    def then(self, step: Stage | Step) -> Recipe:
        """This recipe with one more stage."""
        return Recipe((*self.stages, step), self.product)


@dataclass(frozen=True)
class Budget:
    """How long and how fast a model is trained: what all arms of a comparison have in common.

    epochs passes over the data in batches of batch_size; `updates`, if given, counts updates instead of passes.
    """

    epochs: Count = 30
    batch_size: Count = 64
    updates: Count | None = None
    optimiser: Optimiser = field(default_factory=Optimiser)

    @classmethod
    def of(cls, config: Mapping[str, Any], where: str = "budget") -> Budget:
        """The budget that {epochs: ..., optimiser: {name: ...}} means; ValueError with the nearest key otherwise."""
        return build(cls, config, where)

    def split(self, share: float) -> tuple[Budget, Budget]:
        """Two budgets that are this one together: `share` of its epochs (or updates) and the rest, at least 1 each."""
        whole = self.epochs if self.updates is None else self.updates
        if not 0.0 < share < 1.0 or whole < 2:
            raise ValueError(f"budget: cannot split {whole} epochs (or updates) at {share}: each part needs at least 1")
        first = min(max(1, round(share * whole)), whole - 1)
        if self.updates is None:
            return replace(self, epochs=first), replace(self, epochs=whole - first)
        return replace(self, updates=first), replace(self, updates=whole - first)

    def stage(self, players: Player | Sequence[Player], source: Source, **stage: Any) -> Stage:
        """A stage of this length; `stage`: fields of Stage that it overrides or adds."""
        length = {"epochs": self.epochs, "updates_per_round": self.updates, "batch_size": self.batch_size}
        several = (players,) if isinstance(players, Player) else tuple(players)
        return Stage(several, source, **{**length, **stage})

    def fit(self, players: Player | Sequence[Player], source: Source, **stage: Any) -> Recipe:
        """The recipe of that one stage; its product is the first player's model."""
        only = self.stage(players, source, **stage)
        return Recipe((only,), only.players[0].train.model)


def fit(players: Player | Sequence[Player], source: Source, **stage: Any) -> Recipe:
    """The recipe of one stage; its product is the first player's model. `stage`: fields of Stage."""
    several = (players,) if isinstance(players, Player) else tuple(players)
    if not several:
        raise ValueError("fit() needs at least one player")
    return Recipe((Stage(several, source, **stage),), several[0].train.model)
