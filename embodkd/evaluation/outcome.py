"""What a run came to, as the row of a table: judgement, learning curve, corrections, cost, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any, TypedDict

from embodkd.core.config.ranges import Whole
from embodkd.core.runs.manifest import Manifest
from embodkd.core.runs.metrics import read_metrics
from embodkd.core.runs.reading import read_json
from embodkd.evaluation.result import Judging, StoredRate
from embodkd.evaluation.stored import Correction, Spoilt

_JUDGED = ("success_rate", "successes", "episodes", "ci95", "failures")
_MADE_WITH = ("started", "python", "platform", "cpus", "device", "versions")
CORRECTIONS = "corrections.json"


class _Episode(TypedDict):
    success: bool
    steps: Whole


class _Judged(StoredRate, total=False):
    """What is read here of evaluation.json."""

    per_episode: list[_Episode]
    manifest: Judging


class _Worth(TypedDict):
    """And of ablation.json."""

    rows: list[Spoilt]
    unused: list[str]


def judged(run: Path) -> dict[str, Any]:
    """Success, its interval and failures, minutes and commit of a finished run, or of an evaluation alone."""
    evaluation, manifest = read_json(run / "evaluation.json", _Judged), _manifest(run)
    row = {key: evaluation[key] for key in _JUDGED}
    return {**row, "minutes": manifest.get("minutes"), "commit": manifest.get("git_commit")}


def outcome(run: Path) -> dict[str, Any]:
    """All of it; a part that the run did not leave is absent.

    `steps_to_success` is the mean over successful episodes; `curve` lists [control steps, minutes, success share] of
    the evaluations during training; `corrections` is what `embodkd.evaluation.corrections` measured; `ablation` what
    each sensor is worth; `memory_mib` is the most that its process held.
    """
    row, manifest = judged(run), _manifest(run)
    steps = [e["steps"] for e in read_json(run / "evaluation.json", _Judged).get("per_episode", []) if e["success"]]
    if steps:
        row["steps_to_success"] = round(mean(steps), 1)
    if weights := _parameters(run / "policy" / "model.safetensors"):
        row["parameters"] = weights
    if "memory_mib" in manifest:
        row["memory_mib"] = manifest["memory_mib"]
    if curve := _curve(run / "metrics.jsonl"):
        row["curve"] = curve
    if (run / CORRECTIONS).is_file():
        row["corrections"] = read_json(run / CORRECTIONS, dict[str, Correction])
    if (run / "ablation.json").is_file():
        worth = read_json(run / "ablation.json", _Worth)
        row["ablation"] = {key: worth[key] for key in ("rows", "unused")}
    return {**row, "manifest": {key: manifest.get(key) for key in _MADE_WITH}}


def is_finished(run: Path) -> bool:
    """Whether a run went to its end; an evaluation alone has no manifest of a run, and is written at its end."""
    if (run / "manifest.json").is_file():
        return read_json(run / "manifest.json", Manifest).get("finished") is not None
    return (run / "evaluation.json").is_file()


def _manifest(run: Path) -> Mapping[str, Any]:
    if (run / "manifest.json").is_file():
        return read_json(run / "manifest.json", Manifest)
    found: Mapping[str, Any] = read_json(run / "evaluation.json", _Judged).get("manifest", {})
    return found


def _parameters(weights: Path) -> int:
    """How many numbers a policy consists of, its normalisers' included; 0 if there is none."""
    if not weights.is_file():
        return 0
    from safetensors import safe_open

    with safe_open(weights, "np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)


def _curve(metrics: Path) -> list[list[float]]:
    known = [row for row in read_metrics(metrics) if None not in (row.get("evaluation/success"), row.get("time_s"))]
    return [[row["step"], round(row["time_s"] / 60, 2), row["evaluation/success"]] for row in known]
