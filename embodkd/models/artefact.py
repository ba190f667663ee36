"""A model on disk, in the same three files as a policy: weights, how to build it, a card. No pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, Whole
from embodkd.core.config.schema import build
from embodkd.core.modules.growing import shapes
from embodkd.core.modules.modes import evaluating
from embodkd.core.runs.artefact import (
    ArtefactConfig,
    building,
    few_enough,
    golden_of,
    load_weights,
    read_config,
    read_examples,
    write_artefact,
)
from embodkd.core.runs.files import read_tensors, write_atomic
from embodkd.core.runs.reading import MEND, json_of, read_text
from embodkd.core.sources.kinds import FACTS
from embodkd.core.sources.provenance import Provenance
from embodkd.models.base import MODELS, Model
from embodkd.models.card import card
from embodkd.parts.networks.reused_classifier import Borrowed, blank
from embodkd.parts.networks.subclass_head import SubclassHead, expand_classifier

GOLDEN_ROWS, GOLDEN_TOLERANCE = 4, 1e-3
EXAMPLES = 16


class _Model(ArtefactConfig):
    model: str
    arguments: dict[str, Any]
    golden_logits: list[list[float]]


class _Facts(_Model, total=False):
    shape: list[Count]
    classes: Count
    vocabulary: Count
    length: Count
    start: Whole
    end: Whole | None
    box: list[list[float]]
    cells: list[Count]
    phonemes: Count
    mels: Count
    rate: Count
    hop: Count


class _Known(TypedDict):
    classes: list[str] | None
    silent: bool


class _Anatomy(TypedDict):
    channels: Count
    width: Count
    bias: bool
    size: tuple[Count, Count]
    factor: Count


class _Data(TypedDict):
    name: str


class _Lineage(TypedDict, total=False):
    data: _Data | None


class StoredModel(_Facts, total=False):
    """config.json of a model; of FACTS it says those that the model is built for."""

    provenance: _Known
    lineage: _Lineage
    extra: dict[str, Any]
    subclasses: Count
    borrowed: _Anatomy


def save_model(
    folder: str | Path,
    model: nn.Module,
    *,
    lineage: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    examples: Tensor | None = None,
) -> Path:
    """Write a model folder, whole or not at all, in the place of a former one. Its `provenance`, if any, goes with it.

    `lineage`: data set, method, teacher, seed...; `extra`: further facts (accuracy...); `examples`: inputs (N, *shape)
    that an export is checked on, of which the first EXAMPLES are kept. A model that reads texts takes its tokenizer
    along, one that transformers knows is written in its layout, too, as hf/. ValueError if the model was not made by
    `make_model` or gives logits that are not finite.
    """
    folder = Path(folder)
    check_storable(model, str(folder))
    assert isinstance(model, Model | Borrowed)
    golden = _golden_logits(model)
    if not np.isfinite(golden).all():
        raise ValueError(f"{folder}: the model's logits on the golden input are not finite; its weights are broken")
    known = model.provenance or Provenance(silent=True)
    config = {
        **_anatomy(model),
        "provenance": {"classes": known.classes, "silent": known.silent},
        "lineage": dict(lineage or {}),
        "extra": dict(extra or {}),
        "golden_logits": golden.tolist(),
    }
    items = {f"{use}/{source}": ids for use, of_use in known.items.items() for source, ids in of_use.items()}
    seen = {} if examples is None else {"input": examples[:EXAMPLES].float()}
    seen = {name: rows[: few_enough(seen)] for name, rows in seen.items()}
    beside = {"items": items, "examples": seen}

    def also(aside: Path) -> None:
        if known.spelling is not None:
            write_atomic(aside / "tokenizer.json", known.spelling)
        export: Any = getattr(model, "export", None)
        if export is not None:
            export(aside / "hf", known.spelling)

    return write_artefact(folder, model.state_dict(), config, card(folder.name, config), beside, also)


def load_model(folder: str | Path) -> tuple[Any, dict[str, Any]]:
    """(model in evaluation mode, its config.json). ValueError, with advice, if anything is missing or does not fit.

    The model carries its `provenance`; a folder of a version that did not write it gives a silent one.
    """
    folder = Path(folder)
    config = {"lineage": {}, "extra": {}} | read_config(folder, "model", StoredModel)
    with building(folder):
        model = _built(config, "arguments")
    load_weights(model, folder)
    model.provenance = _provenance(config, folder)
    answer = _golden_logits(model)
    golden = golden_of(config["golden_logits"], answer.shape, folder)
    worst = np.abs(answer - golden).max()
    if not worst <= GOLDEN_TOLERANCE * max(1.0, float(np.abs(golden).max())):
        raise ValueError(
            f"{folder}: the loaded model answers differently from the saved one (by {worst:.3g} on a fixed input): "
            "the weights or the model's code changed since; save it anew, or use the version that wrote it"
        )
    return model.eval(), config


def read_inputs(folder: str | Path, model: Any) -> np.ndarray | None:
    """Inputs (N, *shape) float32 that the folder of `model` carries; None if it carries none."""
    found = read_examples(folder, {"input": (tuple(model.shape), "float32")})
    return None if found is None else found["input"]


def check_storable(model: nn.Module, where: str) -> None:
    """ValueError unless `save_model` and `load_model` give `model` back; `where` opens the message."""
    own_part = model.backbone if isinstance(model, Borrowed) else model
    if type(own_part) not in (MODELS.get(name) for name in MODELS):
        raise ValueError(f"{where}: makes a {type(model).__name__}, and a model folder holds {', '.join(MODELS)} only")
    assert isinstance(model, Model | Borrowed)
    if shapes(model) != shapes(_built(_anatomy(model), where)):
        raise ValueError(f"{where}: changes the layers of its {type(model).__name__}, which no model folder holds")


def _anatomy(model: Model | Borrowed) -> dict[str, Any]:
    """How to build an untrained model of the same layers."""
    if isinstance(model, Borrowed):
        assert isinstance(model.backbone, Model)
        return {**_anatomy(model.backbone), "borrowed": model.anatomy}
    facts = {
        "model": MODELS.name_of(type(model)),
        "arguments": {k: list(v) if isinstance(v, tuple) else v for k, v in model.arguments.items()},
        **{fact: list(value) if isinstance(value, tuple) else value for fact, value in model.facts().items()},
    }
    head = getattr(model, "classifier", None)
    return facts | {"subclasses": head.subclasses} if isinstance(head, SubclassHead) else facts


def _provenance(config: Mapping[str, Any], folder: Path) -> Provenance:
    said = config.get("provenance", {"classes": None, "silent": True})
    items: dict[str, dict[str, Tensor]] = {}
    file, spelled = folder / "items.safetensors", folder / "tokenizer.json"
    for key, ids in (read_tensors(file) if file.is_file() else {}).items():
        use, _, source = key.partition("/")
        items.setdefault(use, {})[source] = ids
    spelling = read_text(spelled) if spelled.is_file() else None
    if spelling is not None:
        json_of(spelling, spelled, dict[str, Any])
    return Provenance(None if said["classes"] is None else tuple(said["classes"]), items, said["silent"], spelling)


def _built(config: Mapping[str, Any], where: str) -> Any:
    """The untrained model of an `_anatomy`."""
    kind = MODELS.get(config["model"])
    if missing := [fact for fact in kind.built_for if fact not in config]:
        raise ValueError(f"lacks {', '.join(missing)}; {MEND}")
    facts = {fact: config[fact] for fact in FACTS if fact in kind.built_for}
    if "shape" in facts:
        facts["shape"] = tuple(facts["shape"])
    # Building draws initial weights that are overwritten at once: the caller's random stream must not notice.
    with torch.random.fork_rng(devices=[]):
        model: Model = build(kind, config["arguments"], where, **facts)
        if "subclasses" in config:
            expand_classifier(model, config["subclasses"], 0)
        model.arguments = config["arguments"]
        return blank(model, config["classes"], config["borrowed"]) if "borrowed" in config else model


def _golden_logits(model: Model | Borrowed) -> np.ndarray:
    """What it answers to a fixed input that depends on nothing but its facts, (GOLDEN_ROWS, K)."""
    own: Any = model.backbone if isinstance(model, Borrowed) else model
    with evaluating(model), torch.no_grad():
        logits = own.golden_answer(model(own.golden_input(GOLDEN_ROWS))[own.golden_signal])
    return np.asarray(logits.float().cpu().numpy())
