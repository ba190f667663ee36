"""From what a judge of a data set says to an Evaluation: the same for every judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embodkd.core import DataSet
from embodkd.core.sources.provenance import Provenance
from embodkd.evaluation.manifest import manifest_of
from embodkd.evaluation.result import Episode, Evaluation


@dataclass(frozen=True)
class Judgement:
    """outcomes: one per item, its seed the sample id; success: when one succeeds, in words; measures: of all items
    together; unit: what items are called."""

    outcomes: tuple[Episode, ...]
    success: str
    measures: Mapping[str, float]
    unit: str = "items"


def evaluated(
    judge: Callable[[Any, Any, str, torch.device | str], Judgement],
    model: nn.Module,
    data: DataSet,
    source: Mapping[str, Any],
    *,
    part: str = "test",
    model_folder: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """What `judge` says of `model` on a part of `data`; ValueError if the part does not exist.

    source: what `data` was made from, {name: ..., seed: ..., option: ...}: it is the protocol, so that two evaluations
    are compared only on the same items. The manifest holds the measures, what to beware of if the model or its teachers
    have seen the items, and the minutes that it took.
    """
    began = time.monotonic()
    said = judge(model, data, part, device)
    provenance: Provenance | None = getattr(model, "provenance", None)
    manifest = manifest_of(model_folder) | {
        "beware": list(provenance.beware(data, part)) if provenance else [],
        "measures": dict(said.measures),
        "minutes": round((time.monotonic() - began) / 60, 3),
    }
    protocol = {"data": dict(source), "part": part, "success": said.success, "unit": said.unit}
    return Evaluation(said.outcomes, protocol, manifest)
