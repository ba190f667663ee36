"""What a table's cells come to: means with intervals, paired comparisons with verdicts, and the claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from embodkd.core.config.registry import near
from embodkd.evaluation.interval import t_interval
from embodkd.evaluation.reproduce.spec import Check, Reproduction

Verdict = Literal["gain", "loss", "no_gain", "undecided"]
ArmRows = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Arm or teacher -> seed -> its stored row."""


def verdict(differences: Sequence[float], margin: float, better: str = "higher") -> Verdict:
    """What the paired differences (method - other, one per seed) say, by their 95 % t-interval.

    "gain" if the whole interval lies on the better side of 0, "loss" if on the worse side; otherwise "no_gain" if it
    lies within +-`margin`, and "undecided": more seeds are needed.
    """
    _, low, high = t_interval(differences)
    if better == "lower":
        low, high = -high, -low
    if low > 0:
        return "gain"
    if high < 0:
        return "loss"
    return "no_gain" if -margin <= low and high <= margin else "undecided"


def summarise(table: Reproduction, rows: ArmRows, seeds: Sequence[int], arms: Sequence[str]) -> dict[str, Any]:
    """The contents of results/SLUG.json but for the manifest, from the cells of `arms` and of the table's teachers."""
    shown = {}
    for name in arms:
        arm = table.arms[name]
        shown[name] = _shown(table, rows[name], seeds, role=arm.role, method=arm.training.method)
    teachers = {name: _shown(table, rows[name], seeds, method=one.method) for name, one in table.teachers.items()}
    methods = [name for name in table.methods() if name in arms]
    everything = {**teachers, **shown}
    checks = [check for check in table.checks if all(name in everything for name in check.names())]
    return {
        "slug": table.slug,
        "title": table.title,
        "metric": table.metric,
        "better": table.better,
        "margin": table.margin,
        "seeds": list(seeds),
        "arms": shown,
        "teachers": teachers,
        "comparisons": [
            _compared(table, one, other, shown) for one in methods for other in arms if other not in methods
        ],
        "checks": [judged(check, everything) for check in checks],
        "minutes": math.fsum(row["minutes"] for name in everything for row in rows[name].values()),
    }


def _shown(
    table: Reproduction, of_seed: Mapping[int, Mapping[str, Any]], seeds: Sequence[int], **more: Any
) -> dict[str, Any]:
    """One arm or teacher: its metric over the seeds with an interval, and every measure."""
    names = of_seed[seeds[0]]["measures"]
    # What a method measures by itself is measured of arms only: then a teacher has no value.
    if table.metric not in names and "role" in more:
        raise ValueError(f"metric {table.metric!r} is not measured: {near(table.metric, names)}")
    measures = {name: [of_seed[seed]["measures"][name] for seed in seeds] for name in names}
    values = measures.get(table.metric, [])
    mean, *interval = t_interval(values) if values else (math.nan, math.nan)
    # A student alone is given the table's teachers like all arms, but asks none.
    asked = more.get("role") != "student_alone"
    beware = sorted({sentence for row in of_seed.values() for sentence in row.get("beware", ()) if asked})
    return {
        **more,
        **({"beware": beware} if beware else {}),
        "seeds": list(seeds),
        "values": values,
        "mean": mean if values else None,
        "ci95": _finite(interval) if values else None,
        "measures": measures,
        # a search may end in another size with each seed
        "parameters": [of_seed[seed]["parameters"] for seed in seeds],
        "minutes": math.fsum(of_seed[seed]["minutes"] for seed in seeds),
    }


def _compared(table: Reproduction, one: str, other: str, shown: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    differences = [a - b for a, b in zip(shown[one]["values"], shown[other]["values"], strict=True)]
    mean, *interval = t_interval(differences)
    return {
        "arm": one,
        "against": other,
        "differences": differences,
        "mean": mean,
        "ci95": _finite(interval),
        "verdict": verdict(differences, table.margin, table.better),
    }


def judged(check: Check, shown: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A claim with what it is about: `left`, `right` (factor and margin applied), `outcome`, and whether it `passed`.

    A claim about means is judged by the interval of the paired differences: it "holds" or "fails" if all of that lies
    on one side, otherwise it is "undecided", as it always is for a single seed. ValueError if an arm has no such
    measure.
    """
    left = _values(check.left, shown, check.claim)
    right = _values(check.right, shown, check.claim) if isinstance(check.right, str) else [check.right] * len(left)
    bound = [check.factor * value + check.margin for value in right]
    better = "lower" if check.above is None else "higher"
    facts: dict[str, Any] = {
        "claim": check.claim,
        "over": check.over,
        "relation": "below" if better == "lower" else "above",
    }
    differences = [a - b for a, b in zip(left, bound, strict=True)]
    if check.over == "every_seed":
        holds = all(one < 0 if better == "lower" else one > 0 for one in differences)
        facts |= {"left": left, "right": bound, "outcome": "holds" if holds else "fails"}
    else:
        # no margin: what does not lie beyond the bound is not within it either
        said = verdict(differences, 0.0, better)
        mean, *interval = t_interval(differences)
        facts |= {
            "left": [math.fsum(left) / len(left)],
            "right": [math.fsum(bound) / len(bound)],
            "difference": mean,
            "ci95": _finite(interval),
            "outcome": {"gain": "holds", "loss": "fails", "no_gain": "fails"}.get(said, "undecided"),
        }
    return {**facts, "passed": facts["outcome"] == "holds"}


def _values(reference: str, shown: Mapping[str, Mapping[str, Any]], claim: str) -> list[float]:
    name, _, measure = reference.partition(".")
    measures = shown[name]["measures"]
    if measure not in measures:
        raise ValueError(f"check {claim!r}: {name} has no measure {measure!r}: {near(measure, measures)}")
    return list(measures[measure])


def _finite(interval: Sequence[float]) -> list[float] | None:
    """The interval as JSON has it; None for the infinite one of a single seed."""
    return list(interval) if all(map(math.isfinite, interval)) else None
