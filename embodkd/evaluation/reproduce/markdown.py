"""A stored table as a section of docs/methods.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def section(result: Mapping[str, Any], stale: str | None) -> list[str]:
    """The lines of one table: every arm and teacher, each method's difference to each other arm, the claims."""
    arms, metric = result["arms"], result["metric"]
    methods = [name for name, arm in arms.items() if arm["role"] == "method"]
    compared = {(one["arm"], one["against"]): one for one in result["comparisons"]}
    count = len(result["seeds"])
    lines = [
        f"## {result['slug']}",
        "",
        f"{result['title']}. {metric} over {count} seed{'s' * (count > 1)}, mean (95 % interval); differences within "
        f"{result['margin']:g} are no gain.",
    ]
    if stale is not None:
        lines += ["", f"**Stale**: {stale}."]
    heads = ["arm", "role", "parameters", metric, *(f"`{name}` minus it" for name in methods)]
    lines += ["", _row(heads), _row(["---"] * len(heads))]
    for name, arm in {**arms, **result["teachers"]}.items():
        differences = [_difference(compared.get((method, name))) for method in methods]
        lines.append(_row([f"`{name}`", arm.get("role", "teacher"), _parameters(arm), _mean(arm), *differences]))
    if result["checks"]:
        lines += ["", *(f"- {outcome(check)}: {check['claim']}" for check in result["checks"])]
    return lines


def outcome(check: Mapping[str, Any]) -> str:
    """What came of a claim, in a word."""
    return str(check.get("outcome") or ("holds" if check["passed"] else "fails"))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _parameters(arm: Mapping[str, Any]) -> str:
    counts = sorted(set(arm.get("parameters", ())))
    return " to ".join(f"{count:,}" for count in (counts[:1] + counts[-1:] if len(counts) > 1 else counts)) or "–"


def _mean(arm: Mapping[str, Any]) -> str:
    if arm["mean"] is None:
        return "–"
    return f"{arm['mean']:.4g}" + ("" if arm["ci95"] is None else f" ({arm['ci95'][0]:.4g} to {arm['ci95'][1]:.4g})")


def _difference(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    interval = "" if one["ci95"] is None else f" ({one['ci95'][0]:+.2g} to {one['ci95'][1]:+.2g})"
    return f"{one['mean']:+.2g}{interval}, {one['verdict'].replace('_', ' ')}"
