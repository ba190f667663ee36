"""Random number generators as data: every state goes to safetensors and JSON and back, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor


class StoredRandom(TypedDict):
    """The JSON of `rng_state`."""

    numpy: tuple[str, int, int, float]
    python: tuple[int, float | None]
    generators: dict[str, dict[str, Any]]


def seed_everything(seed: int) -> np.random.Generator:
    """Seed python, numpy's global generator and torch (all devices); return a fresh numpy Generator of that seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Inside, torch's CPU generator starts from `key`; afterwards it is where it was. No other generator is touched.

    For the weights of a recipe's own modules, which are drawn on the CPU: the same in a resumed run and on any device,
    whatever was drawn before.
    """
    with torch.random.fork_rng(devices=[]):
        seed = int(np.random.SeedSequence([k % 2**64 for k in key]).generate_state(1, np.uint64)[0])
        # torch.manual_seed would seed the generators of all accelerators too, which nobody puts back.
        torch.default_generator.manual_seed(seed)
        yield


def rng_state(**generators: np.random.Generator) -> tuple[dict[str, Tensor | np.ndarray], dict[str, Any]]:
    """(tensors, JSON state) of the global generators of torch, numpy and python, and of the numpy Generators given.

    Keys of the tensors start with "rng."; the pair goes into a checkpoint and comes back through `set_rng_state`.
    """
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, gauss_next = random.getstate()
    tensors: dict[str, Tensor | np.ndarray] = {
        "rng.torch": torch.get_rng_state(),
        "rng.numpy": np.asarray(keys),
        "rng.python": np.asarray(words, dtype=np.int64),
    }
    if torch.cuda.is_available():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"rng.cuda.{index}"] = state
    rest = {
        "numpy": [kind, int(position), int(has_gauss), float(gauss)],
        "python": [version, gauss_next],
        "generators": {name: generator_state(g) for name, g in generators.items()},
    }
    return tensors, rest


def set_rng_state(
    tensors: Mapping[str, Tensor | np.ndarray], state: Mapping[str, Any], **generators: np.random.Generator
) -> None:
    """Put back what `rng_state` returned; ValueError when a generator is missing from the saved state."""
    torch.set_rng_state(torch.as_tensor(tensors["rng.torch"]))
    kind, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.asarray(tensors["rng.numpy"]), position, has_gauss, gauss))
    version, gauss_next = state["python"]
    random.setstate((version, tuple(int(w) for w in np.asarray(tensors["rng.python"])), gauss_next))
    if torch.cuda.is_available():
        saved = [n for n in tensors if n.startswith("rng.cuda.")]
        for name in saved[: torch.cuda.device_count()]:
            torch.cuda.set_rng_state(torch.as_tensor(tensors[name]), int(name.rpartition(".")[2]))
    for name, generator in generators.items():
        if name not in state["generators"]:
            raise ValueError(f"the checkpoint has no random generator {name!r}; it was written by another program")
        set_generator_state(generator, state["generators"][name])


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a numpy Generator as JSON (integers beyond 64 bits included)."""
    return _plain(generator.bit_generator.state)


def set_generator_state(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put back what `generator_state` returned."""
    generator.bit_generator.state = _arrays(state)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return int(value) if isinstance(value, np.integer) else value


def _arrays(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"array", "dtype"}:
            return np.asarray(value["array"], dtype=value["dtype"])
        return {k: _arrays(v) for k, v in value.items()}
    return value
