"""Judge a classifier item by item, as an Evaluation: an item is what an episode is to a policy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embodkd.core import Splits
from embodkd.evaluation.judgement import judgement
from embodkd.evaluation.measures import MEASURES, Classify, answers
from embodkd.evaluation.result import Episode, Evaluation


def evaluate_classifier(
    model: nn.Module,
    data: Splits,
    source: Mapping[str, Any],
    *,
    part: str = "test",
    classify: Classify | None = None,
    model_folder: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Ask `model` for every item of a part of `data`; an item succeeds if its largest logit is at the label.

    source: what `data` was made from, {name: ..., seed: ..., option: ...}: it is the protocol, so that two evaluations
    are compared only on the same items. The seed of an item is its sample id, its failure "3 taken for 8"; the
    manifest holds the other measures too, and what to beware of if the model or its teachers have seen the items.
    ValueError if the part does not exist or has no labels.
    """
    start, judged = time.monotonic(), data.part(part)
    if "label" not in judged.fields:
        raise ValueError(f"part {part!r} has no labels to judge by")
    logits_NC, label_N = answers(model, judged, data.classes, classify, device)
    rows = zip(judged.fields["sample_id"].tolist(), label_N.tolist(), logits_NC.argmax(1).tolist(), strict=True)
    outcomes = tuple(
        Episode(item, label == answer, None if label == answer else f"{label} taken for {answer}", 0.0, 1)
        for item, label, answer in rows
    )
    success = "the largest logit is at the label"
    measures = {name: MEASURES.get(name)(logits_NC, label_N) for name in MEASURES}
    facts: dict[str, Any] = {"measures": measures, "began": start, "model_folder": model_folder}
    return judgement(model, data, source, part, outcomes, success=success, **facts)
