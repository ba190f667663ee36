"""What every trained thing on disk has in common: safetensors, config.json, a card. No pickle.

folder/model.safetensors    weights
       config.json          how to build it, and its answer to a fixed input (golden)
       README.md            model card (the hub's format)
       items.safetensors    for a model of a data set: which items made and judged it
       examples.safetensors what it once saw: an episode of a policy, items of a model; exports are checked on it
       tokenizer.json       of a model that reads texts
       hf/                  a language model once more, as transformers loads it
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from torch import Tensor, nn

from embodkd.core.config.ranges import Count
from embodkd.core.config.registry import near
from embodkd.core.runs.files import atomic_folder, read_tensors, write_json, write_tensors
from embodkd.core.runs.finite import first_not_finite
from embodkd.core.runs.reading import MEND, blamed, read_json

FORMAT = 1
EXAMPLE_BYTES = 4 * 2**20
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".zip", ".bin", ".ckpt")


def write_artefact(
    folder: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    card: str,
    beside: Mapping[str, Mapping[str, Any]] | None = None,
    also: Callable[[Path], object] = lambda folder: None,
) -> Path:
    """Write these files, whole or not at all, in the place of a former folder; ValueError for weights not finite.

    beside: name -> tensors of further files, of which the empty ones are left out. also: called with the folder, as
    long as it is not in its place, to write what else belongs there.
    """
    bad = first_not_finite(tensors)
    if bad is not None:
        raise ValueError(f"{folder}: {bad} is not finite: these weights are broken; nothing was written")
    with atomic_folder(folder) as aside:
        write_tensors(aside / "model.safetensors", tensors)
        for name, held in (beside or {}).items():
            if held:
                write_tensors(aside / f"{name}.safetensors", held)
        write_json(aside / "config.json", {"format": FORMAT, **config})
        (aside / "README.md").write_text(card, encoding="utf-8")
        also(aside)
    return folder


class ArtefactConfig(TypedDict):
    """What every config.json says; each kind of artefact says more."""

    format: Count


def read_config(folder: str | Path, kind: str, form: type[ArtefactConfig]) -> Any:
    """config.json of an artefact, without building it; ValueError if the folder is not a whole one of this `form`.

    kind: what it holds ("policy", "model"), for the messages; `save_{kind}` is who writes it.
    """
    folder = Path(folder)
    if folder.suffix in _PICKLES:
        raise ValueError(
            f"{folder}: looks like a pickle of another program, which could run any code when opened; it is not read. "
            f"Give a {kind} folder (model.safetensors + config.json) as written by save_{kind}"
        )
    if not folder.is_dir():
        beside = [p.name for p in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise ValueError(f"{folder}: no such {kind} folder; in {folder.parent}: {near(folder.name, beside)}")
    missing = [n for n in ("config.json", "model.safetensors") if not (folder / n).is_file()]
    if missing:
        hint = f"; did you mean {folder / kind}?" if (folder / kind / "config.json").exists() else ""
        pickles = [p.name for p in folder.iterdir() if p.suffix in _PICKLES]
        hint += f"; {pickles[0]} may be a pickle, which is never read" if pickles else ""
        raise ValueError(f"{folder}: not a whole {kind} folder, {' and '.join(missing)} missing{hint}")
    later = read_json(folder / "config.json", ArtefactConfig)["format"]
    if later > FORMAT:
        raise ValueError(f"{folder}: has format {later}, this version reads up to {FORMAT}; upgrade embodkd")
    return read_json(folder / "config.json", form)


@contextmanager
def building(folder: Path) -> Iterator[None]:
    """What is built inside is made of what config.json says: a ValueError that names the file where that fails."""
    with blamed(folder / "config.json"):
        try:
            yield
        except (RuntimeError, TypeError, ArithmeticError, LookupError, MemoryError) as error:
            # out of a library that was asked for a layer of no size, or of more than there is room for
            raise ValueError(f"nothing can be built of it ({str(error).splitlines()[0]:.150})") from error


def load_weights(model: nn.Module, folder: str | Path) -> None:
    """Fill `model` from model.safetensors; ValueError if names or shapes do not fit."""
    tensors = read_tensors(Path(folder) / "model.safetensors")
    wanted = model.state_dict()
    odd = sorted(wanted.keys() ^ tensors.keys())
    odd += sorted(n for n in wanted.keys() & tensors.keys() if wanted[n].shape != tensors[n].shape)
    if odd:
        raise ValueError(f"{folder}: model.safetensors and config.json do not belong together (tensors {odd[:4]})")
    model.load_state_dict(tensors)


def read_examples(
    folder: str | Path, expected: Mapping[str, tuple[tuple[int, ...], str]]
) -> dict[str, np.ndarray] | None:
    """What `write_artefact` left in examples.safetensors, name -> (T, *shape); None if it is not there.

    expected: name -> (shape of a row, dtype). ValueError if the file holds anything else.
    """
    file = Path(folder) / "examples.safetensors"
    if not file.is_file():
        return None
    found = {name: np.asarray(value) for name, value in read_tensors(file).items()}
    facts = {name: (value.shape[1:], str(value.dtype)) for name, value in found.items()}
    lengths = {len(value) for value in found.values()}
    if facts != dict(expected) or len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"{file}: holds no rows of {dict(expected)}, which config.json beside it asks for; write it anew"
        )
    return found


def few_enough(rows: Mapping[str, Any]) -> int:
    """How many of these rows (T, ...), the first ones and at least one, are examples of at most EXAMPLE_BYTES."""
    row = sum(values[:1].nbytes for values in rows.values())
    return min(len(next(iter(rows.values()))), max(1, EXAMPLE_BYTES // max(1, row)))


def golden_of(stored: Any, shape: tuple[int, ...], folder: str | Path) -> np.ndarray:
    """A stored answer, rows of numbers, as float32 of this shape; ValueError that names config.json in `folder`."""
    if any(len(row) != shape[1] for row in stored) or len(stored) != shape[0]:
        raise ValueError(f"{Path(folder) / 'config.json'}: its golden answer is not of shape {shape}; {MEND}")
    return np.asarray(stored, np.float32)


def golden_unit(shape: Sequence[int]) -> np.ndarray:
    """Fixed numbers in [0, 1) of this shape, float64, to ask a model something whose answer is stored.

    Weyl's sequence: arithmetic instead of a generator, whose stream might change with numpy's version.
    """
    return ((np.arange(1, math.prod(shape) + 1) * 0.6180339887498949) % 1.0).reshape(shape)
