"""All that reinforcement learning needs to go on bit for bit: weights, optimisers, random numbers, running episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from numbers import Real
from typing import Any, ClassVar, Protocol, TypedDict, TypeVar

import torch

from embodkd.core import RunFolder
from embodkd.core.config.schema import hints_of
from embodkd.core.engine.state import load_slots as give_back
from embodkd.core.ranks import ranks
from embodkd.core.rng import StoredRandom, rng_state, set_rng_state
from embodkd.core.runs.checkpoint import restoring

Record = TypeVar("Record")


class Resumable(Protocol):
    """A learner that can be put down between two iterations."""

    STATE: ClassVar[Mapping[str, Any]]
    """Key of its JSON state -> type."""
    num_timesteps: int

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(tensors and arrays by name, JSON state): all that it needs to go on, but for the global random numbers."""
        ...

    def restore(self, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        ...


def save(run: RunFolder, learner: Resumable, record: Any) -> None:
    """Write a checkpoint of `learner` and of `record` (a dataclass of plain values) at its current step."""
    tensors, rng = rng_state()
    mine, state = learner.snapshot()
    run.save_checkpoint(learner.num_timesteps, {**tensors, **mine}, {"rng": rng, **state, "record": asdict(record)})


def resume(run: RunFolder, learner: Resumable, record: Callable[..., Record]) -> Record:
    """Put the newest checkpoint, if there is one, into `learner`; returns its record, or a new one."""
    # before anything succeeded the best is -inf: any number will do
    kept = {name: Real if hint is float else hint for name, hint in hints_of(record).items()}
    mapping: Any = TypedDict  # made here, of what only the learner knows
    state = mapping("state", {"rng": StoredRandom, "record": mapping("record", kept), **learner.STATE})
    checkpoint = ranks().broadcast(run.go_on(state))
    if checkpoint is None:
        return record()
    tensors, facts = checkpoint.tensors, checkpoint.state
    with restoring(checkpoint):
        learner.restore(tensors, facts)
        learner.num_timesteps = checkpoint.step
        set_rng_state(tensors, facts["rng"])
        return record(**facts["record"])


def slots(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Any]:
    """What an optimiser remembers of each parameter, as tensors by name."""
    state = optimiser.state_dict()["state"]
    return {f"{prefix}{index}.{name}": value for index, kept in state.items() for name, value in kept.items()}


def load_slots(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Any]) -> None:
    """Put back what `slots` returned (names without the prefix); rates and settings stay as they are."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        place, _, slot = name.partition(".")
        state.setdefault(int(place), {})[slot] = torch.as_tensor(value)
    give_back(optimiser, state)


def part(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The entries whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
