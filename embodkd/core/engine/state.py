"""Modules, optimisers and every rank's random generators as flat tensors and JSON, for checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core.optimiser import Bundle
from embodkd.core.rng import StoredRandom, seed_everything, set_rng_state
from embodkd.core.sharded import cut_as, is_sharded

Moments = Mapping[Tensor, Mapping[str, Any]]
"""Parameter -> what an optimiser remembers of it, by name: its `state`."""
Kept = dict[str, Moments]
"""By player, from an earlier stage."""


class StoredOptimiser(TypedDict):
    """The JSON that `pack_optimisers` gives of each."""

    groups: list[dict[str, Any]]
    numbers: dict[str, dict[str, Any]]


class _Random(TypedDict):
    rng: StoredRandom


class StoredMoments(TypedDict):
    """The JSON that `pack_moments` gives of each player."""

    player: str
    numbers: dict[str, dict[str, Any]]


class StoredState(_Random, total=False):
    """What `pack_random`, a scaler, `fixed` and `pack_moments` leave in the JSON of a checkpoint."""

    fixed: list[str]
    moments: list[StoredMoments]
    rng_of_others: list[StoredRandom]
    scaler: dict[str, float] | None


def pack_modules(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    """All parameters and buffers, under "model.K.name"."""
    return {
        f"model.{k}.{name}": value for k, module in enumerate(modules) for name, value in module.state_dict().items()
    }


def unpack_modules(modules: Sequence[nn.Module], tensors: Mapping[str, Any]) -> None:
    """Put back what `pack_modules` gave; ValueError when the checkpoint is of other models."""
    for k, module in enumerate(modules):
        prefix = f"model.{k}."
        saved = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        parts = {name: value for name, value in module.state_dict().items() if is_sharded(value)}
        saved |= {name: cut_as(saved[name], value) for name, value in parts.items() if name in saved}
        try:
            module.load_state_dict(saved)
        except RuntimeError as error:
            title = type(module).__name__
            raise ValueError(
                f"the checkpoint does not fit model {k} ({title}): {error}; resume with the config of that run"
            ) from error


def named(modules: Sequence[nn.Module]) -> dict[str, nn.Parameter]:
    """All parameters, under "model.K.name"."""
    return {f"model.{k}.{name}": p for k, module in enumerate(modules) for name, p in module.named_parameters()}


def fixed(modules: Sequence[nn.Module]) -> list[str]:
    """The names of the parameters that do not learn now."""
    return [name for name, parameter in named(modules).items() if not parameter.requires_grad]


def fix(modules: Sequence[nn.Module], names: Iterable[str]) -> None:
    """Let all parameters learn but those of these names: put back what `fixed` gave."""
    chosen = set(names)
    for name, parameter in named(modules).items():
        parameter.requires_grad_(name not in chosen)


def pack_moments(kept: Kept, modules: Sequence[nn.Module]) -> tuple[dict[str, Tensor], list[StoredMoments]]:
    """Of each player the moments of parameters of `modules`: tensors under "moments.K.parameter.name", and JSON."""
    tensors: dict[str, Tensor] = {}
    rest: list[StoredMoments] = []
    for k, (player, moments) in enumerate(kept.items()):
        numbers: dict[str, dict[str, Any]] = {}
        for parameter_name, parameter in named(modules).items():
            for name, value in moments.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"moments.{k}.{parameter_name}.{name}"] = value
                else:
                    numbers.setdefault(parameter_name, {})[name] = value
        rest.append({"player": player, "numbers": numbers})
    return tensors, rest


def unpack_moments(modules: Sequence[nn.Module], tensors: Mapping[str, Any], rest: Sequence[StoredMoments]) -> Kept:
    """What `pack_moments` gave, for the parameters that `modules` have."""
    known = named(modules)
    kept: dict[str, Moments] = {}
    for k, stored in enumerate(rest):
        found: dict[str, dict[str, Any]] = {name: dict(numbers) for name, numbers in stored["numbers"].items()}
        prefix = f"moments.{k}."
        for key, value in tensors.items():
            if key.startswith(prefix):
                parameter_name, _, name = key[len(prefix) :].rpartition(".")
                found.setdefault(parameter_name, {})[name] = value
        kept[stored["player"]] = {known[name]: entries for name, entries in found.items()}
    return kept


def note_places(optimiser: torch.optim.Optimizer, bundles: Sequence[Bundle], cut: Sequence[Bundle]) -> None:
    """Note where its parameters stand in files where its groups are not the `bundles`, but these `cut` by kind."""
    if len(cut) > len(bundles):
        place = {name: k for k, name in enumerate(name for bundle in bundles for name in bundle.names)}
        for group, bundle in zip(optimiser.param_groups, cut, strict=True):
            group["places"] = [place[name] for name in bundle.names]


def places(optimiser: torch.optim.Optimizer) -> list[int]:
    """Where each of its parameters stands in files: as if none lay in parts on several processes."""
    noted = [place for group in optimiser.param_groups for place in group.get("places", ())]
    return noted or list(range(sum(len(group["params"]) for group in optimiser.param_groups)))


def pack_optimisers(optimisers: Sequence[torch.optim.Optimizer]) -> tuple[dict[str, Tensor], list[Any]]:
    """Tensors under "optimiser.K.parameter.name", and the rest as JSON."""
    tensors: dict[str, Tensor] = {}
    rest = []
    for k, optimiser in enumerate(optimisers):
        state, stands = optimiser.state_dict(), places(optimiser)
        numbers: dict[str, dict[str, Any]] = {}
        for index, entries in state["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser.{k}.{stands[index]}.{name}"] = value
                else:
                    numbers.setdefault(str(stands[index]), {})[name] = value
        rest.append({"groups": state["param_groups"], "numbers": numbers})
    return tensors, rest


def unpack_optimisers(
    optimisers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Any], rest: Sequence[Any]
) -> None:
    """Put back what `pack_optimisers` gave."""
    if len(optimisers) != len(rest):
        raise ValueError(f"the checkpoint has {len(rest)} optimisers, this recipe {len(optimisers)}")
    for k, (optimiser, saved) in enumerate(zip(optimisers, rest, strict=True)):
        state: dict[int, dict[str, Any]] = {int(i): dict(entries) for i, entries in saved["numbers"].items()}
        prefix = f"optimiser.{k}."
        for key, value in tensors.items():
            if key.startswith(prefix):
                index, _, name = key[len(prefix) :].partition(".")
                state.setdefault(int(index), {})[name] = value
        groups = [{**group, "betas": tuple(group["betas"])} if "betas" in group else group for group in saved["groups"]]
        stands = places(optimiser)
        if sorted(stands) != stands or any("places" in group for group in groups):
            # Cut otherwise then or now; what they say is the recipe's.
            load_slots(optimiser, {here: state[place] for here, place in enumerate(stands) if place in state})
        else:
            load_slots(optimiser, state, groups)


def load_slots(
    optimiser: torch.optim.Optimizer, slots: Mapping[int, Mapping[str, Any]], groups: Sequence[Any] | None = None
) -> None:
    """Put back what an optimiser remembers of each parameter, place of the parameter -> name -> value.

    Files keep no layout, so each tensor is laid out as its parameter is: torch's kernels take a slot in another layout,
    and round otherwise. groups: rates and settings; None leaves them as they are.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state = {}
    for place, entries in slots.items():
        like = parameters[place]
        state[place] = {
            name: torch.empty_like(like, dtype=value.dtype).copy_(cut_as(value, like))
            if isinstance(value, Tensor) and value.shape == like.shape
            else value
            for name, value in entries.items()
        }
    kept = optimiser.state_dict()["param_groups"] if groups is None else list(groups)
    optimiser.load_state_dict({"state": state, "param_groups": kept})


def pack_training(
    modules: Sequence[nn.Module], optimisers: Sequence[torch.optim.Optimizer], kept: Kept
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that training changes but random numbers, as tensors and JSON. kept: see `pack_moments`."""
    tensors, groups = pack_optimisers(optimisers)
    moments, stored = pack_moments(kept, modules)
    state = {"optimisers": groups, "fixed": fixed(modules), "moments": stored}
    return {**pack_modules(modules), **tensors, **moments}, state


def unpack_training(modules: Sequence[nn.Module], tensors: Mapping[str, Any], state: Mapping[str, Any]) -> Kept:
    """Put back what `pack_training` gave, but for the optimisers, which follow; returns what was kept."""
    unpack_modules(modules, tensors)
    if "fixed" in state:  # a checkpoint may be older
        fix(modules, state["fixed"])
    return unpack_moments(modules, tensors, state.get("moments", ()))


def pack_random(states: Sequence[tuple[Mapping[str, Any], dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, JSON) of what `rng_state` gave on each rank; the first one's lie as those of a single process do."""
    tensors = {f"{_rank(k)}{name}": value for k, (own, _) in enumerate(states) for name, value in own.items()}
    first, *others = (rest for _, rest in states)
    return tensors, {"rng": first, **({"rng_of_others": others} if others else {})}


def unpack_random(rank: int, tensors: Mapping[str, Any], state: Mapping[str, Any], seed: int, step: int) -> None:
    """Put back this rank's generators; where that rank was not there, seed them by (seed, step, rank)."""
    states, prefix = [state["rng"], *state.get("rng_of_others", ())], _rank(rank)
    if rank < len(states):
        own = {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(f"{prefix}rng.")}
        set_rng_state(own, states[rank])
    else:
        key = np.random.SeedSequence([seed % 2**64, step, rank])
        seed_everything(int(key.generate_state(1, np.uint64)[0]))


def _rank(number: int) -> str:
    return f"rank.{number}." if number else ""
