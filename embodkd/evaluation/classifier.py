"""Judge a classifier item by item: an item is what an episode is to a policy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embodkd.core import Splits
from embodkd.evaluation.judgement import Judgement, evaluated
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
    """Ask `model` for every item of a part of `data`, by `classify` if it is given; the rest as in `evaluated`."""
    judge = partial(judgement, classify=classify)
    return evaluated(judge, model, data, source, part=part, model_folder=model_folder, device=device)


def judgement(
    model: nn.Module, data: Splits, part: str, device: torch.device | str, *, classify: Classify | None = None
) -> Judgement:
    """An item succeeds if its largest logit is at the label; its failure is "3 taken for 8".

    ValueError for a part without labels.
    """
    judged = data.part(part)
    if "label" not in judged.fields:
        raise ValueError(f"part {part!r} has no labels to judge by")
    logits_NC, label_N = answers(model, judged, data.classes, classify, device)
    rows = zip(judged.fields["sample_id"].tolist(), label_N.tolist(), logits_NC.argmax(1).tolist(), strict=True)
    outcomes = tuple(
        Episode(item, label == answer, None if label == answer else f"{label} taken for {answer}", 0.0, 1)
        for item, label, answer in rows
    )
    measures = {name: MEASURES.get(name)(logits_NC, label_N) for name in MEASURES}
    return Judgement(outcomes, "the largest logit is at the label", measures)
