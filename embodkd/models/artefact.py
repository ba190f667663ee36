"""A classifier on disk, in the same three files as a policy: weights, how to build it, a card. No pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embodkd.core.artefact import golden_unit, load_weights, read_config, write_artefact
from embodkd.core.schema import build
from embodkd.models.base import MODELS, Classifier

GOLDEN_ROWS, GOLDEN_TOLERANCE = 4, 1e-3


def save_model(
    folder: str | Path,
    model: Classifier,
    *,
    lineage: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model folder, whole or not at all, in the place of a former one.

    `lineage`: data set, method, teacher, seed...; `extra`: further facts (accuracy...). ValueError if the model was
    not made by `make_model` or gives logits that are not finite.
    """
    folder = Path(folder)
    name = MODELS.name_of(type(model))
    golden = _golden_logits(model)
    if not np.isfinite(golden).all():
        raise ValueError(f"{folder}: the model's logits on the golden input are not finite; its weights are broken")
    config = {
        "model": name,
        "arguments": {k: list(v) if isinstance(v, tuple) else v for k, v in model.arguments.items()},
        "shape": list(model.shape),
        "classes": model.classes,
        "lineage": dict(lineage or {}),
        "extra": dict(extra or {}),
        "golden_logits": golden.tolist(),
    }
    return write_artefact(folder, model.state_dict(), config, _card(folder.name, config))


def load_model(folder: str | Path) -> tuple[Classifier, dict[str, Any]]:
    """(model in evaluation mode, its config.json). ValueError, with advice, if anything is missing or does not fit."""
    folder = Path(folder)
    config = read_config(folder, "model", ("model", "arguments", "shape", "classes", "golden_logits"))
    kind = MODELS.get(config["model"])
    # Building draws initial weights that are overwritten at once: the caller's random stream must not notice.
    with torch.random.fork_rng(devices=[]):
        model = build(kind, config["arguments"], str(folder), shape=tuple(config["shape"]), classes=config["classes"])
    model.arguments = config["arguments"]
    load_weights(model, folder)
    golden = np.asarray(config["golden_logits"], np.float32)
    worst = np.abs(_golden_logits(model) - golden).max()
    if not worst <= GOLDEN_TOLERANCE * max(1.0, float(np.abs(golden).max())):
        raise ValueError(
            f"{folder}: the loaded model answers differently from the saved one (by {worst:.3g} on a fixed input): "
            "the weights or the model's code changed since; save it anew, or use the version that wrote it"
        )
    return model.eval(), config


def _golden_logits(model: Classifier) -> np.ndarray:
    """Logits of a fixed input that depends on nothing but its shape, (GOLDEN_ROWS, C)."""
    was_training = model.training
    model.eval()
    input_N = torch.from_numpy(golden_unit((GOLDEN_ROWS, *model.shape)).astype(np.float32))
    with torch.no_grad():
        logits_NC = model(input_N.to(model.classifier.weight.device))["logits"]
    model.train(was_training)
    return logits_NC.float().cpu().numpy()


def _card(title: str, config: Mapping[str, Any]) -> str:
    """Markdown with a YAML head, the hub's format."""
    lines = [
        "---",
        "library_name: embodkd",
        "pipeline_tag: image-classification",
        "license: apache-2.0",
        f"tags: [embodkd, {config['model']}]",
        "---",
        f"# {title}: `{config['model']}` with {config['classes']} classes",
        "",
        f"Reads float32 inputs (N, {', '.join(map(str, config['shape']))}) in [0, 1]; gives `logits` and `embedding`.",
    ]
    sections = {"Arguments": config["arguments"], "Lineage": config["lineage"], "Facts": config["extra"]}
    for heading, facts in sections.items():
        if facts:
            lines += ["", f"## {heading}", "", *(f"- {key}: `{value}`" for key, value in facts.items())]
    use = [
        "```python",
        "from embodkd.models import load_model",
        "",
        'model, config = load_model("path/to/this/folder")',
    ]
    return "\n".join([*lines, "", "## Use", "", *use, 'logits = model(images)["logits"]', "```", ""])
