"""A classifier as one file, checked on inputs that its folder carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core.modules.modes import evaluating
from embodkd.evaluation.export.formats import written
from embodkd.evaluation.export.graph import Graph, Port


@dataclass(frozen=True)
class ExportedModel:
    """What was written, and the largest difference of any logit from the model's, as a share of the largest logit."""

    path: Path
    format: str
    worst: float
    items: int

    def __str__(self) -> str:
        size = self.path.stat().st_size / 1e6
        return f"{self.path} ({size:.2f} MB): answers like the model within {self.worst:.1e} on {self.items} items"


class Logits(nn.Module):
    """A classifier of which only the logits are asked."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *rows: Tensor) -> tuple[Tensor]:
        """One (N, *shape) float32 -> one (N, C) float32."""
        (input,) = rows
        dtype = next(self.model.parameters()).dtype
        logits_NC: Tensor = self.model(input.to(dtype))["logits"]
        return (logits_NC.float(),)


def export_model(
    model: nn.Module,
    config: Mapping[str, Any],
    path: str | Path,
    format: str = "onnx",
    tolerance: float = 1e-5,
    *,
    examples: np.ndarray,
) -> ExportedModel:
    """Write `model` to `path`, and keep the file only if it answers as the model does.

    `config` is its config.json; `examples`: inputs (N, *shape) float32, asked one by one and all at once. ValueError if
    the format is unknown or a logit differs by more than `tolerance` of the largest one (then nothing is left at `path`
    but what was there before); ImportError with the extra to install.
    """
    path, module = Path(path), Logits(model)
    facts = {
        "model": config["model"],
        "inputs": {"input": {"shape": config["shape"], "dtype": "float32", "unit": "0..1"}},
        "outputs": ["logits"],
        "classes": config.get("provenance", {}).get("classes") or config["classes"],
        "lineage": config["lineage"],
    }
    with evaluating(model), torch.no_grad():
        expected_NC = module(torch.from_numpy(examples))[0].numpy()
    graph = Graph(module, (Port("input", tuple(config["shape"]), "float32", "0..1"),), ("logits",), facts)
    with written(graph, path, format) as draft:
        alone = [_answers(draft, format, item[None]) for item in examples]
        found = (_answers(draft, format, examples), np.concatenate(alone))
        largest = max(1.0, float(np.abs(expected_NC).max()))
        worst = float(np.max([np.abs(each_NC - expected_NC) for each_NC in found])) / largest
        if not worst <= tolerance:
            raise ValueError(
                f"{path}: the exported file answers differently from the model by {worst:.2g} of the largest logit "
                f"(tolerance {tolerance:g}); it was not kept; export in another format, or raise tolerance= if that "
                "much does not matter"
            )
    return ExportedModel(path, format, worst, len(examples))


def _answers(file: Path, format: str, input: np.ndarray) -> np.ndarray:
    if format == "torch":
        with torch.no_grad():
            return np.asarray(torch.export.load(file).module()(torch.from_numpy(input))[0])
    import onnxruntime

    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"input": input})[0])
