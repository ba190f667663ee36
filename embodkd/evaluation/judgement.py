"""What every judge of a data set leaves beside its outcomes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from embodkd.core import DataSet
from embodkd.core.sources.provenance import Provenance
from embodkd.evaluation.manifest import manifest_of
from embodkd.evaluation.result import Episode, Evaluation


def judgement(
    model: nn.Module,
    data: DataSet,
    source: Mapping[str, Any],
    part: str,
    outcomes: Sequence[Episode],
    *,
    success: str,
    measures: Mapping[str, float],
    began: float,
    model_folder: str | Path | None,
    unit: str = "items",
) -> Evaluation:
    """The Evaluation of `model` on a part of `data` with these outcomes.

    source: what `data` was made from, {name: ..., seed: ..., option: ...}: it is the protocol, so that two evaluations
    are compared only on the same items. The manifest holds the measures, what to beware of if the model or its teachers
    have seen the items, and the minutes since `began` (time.monotonic()).
    """
    provenance: Provenance | None = getattr(model, "provenance", None)
    manifest = manifest_of(model_folder) | {
        "beware": list(provenance.beware(data, part)) if provenance else [],
        "measures": dict(measures),
        "minutes": round((time.monotonic() - began) / 60, 3),
    }
    return Evaluation(tuple(outcomes), {"data": dict(source), "part": part, "success": success, "unit": unit}, manifest)
