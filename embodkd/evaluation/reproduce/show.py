"""A result as text: one line per arm, comparisons beside it, claims below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OUTCOMES = {"holds": "holds", "fails": "FAILS", "undecided": "UNDECIDED"}


def as_text(result: Mapping[str, Any]) -> str:
    """The table of results/SLUG.json for people."""
    head = f"{result['slug']}: {result['title']}" if result["title"] else str(result["slug"])
    count = len(result["seeds"])
    lines = [head, f"{result['metric']} over {count} seed{'s' * (count > 1)}, mean (95 % interval)", ""]
    names = [*result["arms"], *result["teachers"]]
    width = max(map(len, names))
    for name in names:
        arm = result["arms"].get(name) or result["teachers"][name]
        role = arm.get("role", "teacher")
        told = [_against(one) for one in result["comparisons"] if one["against"] == name]
        line = f"  {name:<{width}}  {role:<13}  {_number(arm):<26}  {'; '.join(told)}"
        lines.append(line.rstrip())
        lines += [f"  {'':<{width}}  beware: {sentence}" for sentence in arm.get("beware", ())]
    if result["checks"]:
        lines += ["", "claims"]
    for check in result["checks"]:
        sides = f"{_list(check['left'])} {check['relation']} {_list(check['right'])}"
        over = "every seed" if check["over"] == "every_seed" else _interval(check)
        lines.append(f"  {_OUTCOMES[check['outcome']]:<9}  {check['claim']}: {sides} ({over})")
    return "\n".join([*lines, "", f"{result['minutes']:.1f} minutes"])


def _interval(check: Mapping[str, Any]) -> str:
    if check["ci95"] is None:
        return "one seed"
    low, high = check["ci95"]
    return f"by {check['difference']:+.3g}, 95 %: {low:+.3g} to {high:+.3g}"


def _number(arm: Mapping[str, Any]) -> str:
    if arm["mean"] is None:
        return "not measured"
    interval = "" if arm["ci95"] is None else f" ({_short(arm['ci95'][0])} to {_short(arm['ci95'][1])})"
    return f"{_short(arm['mean'])}{interval}"


def _against(one: Mapping[str, Any]) -> str:
    interval = "" if one["ci95"] is None else f" ({one['ci95'][0]:+.3g} to {one['ci95'][1]:+.3g})"
    return f"{one['arm']} {one['mean']:+.3g}{interval}: {one['verdict'].replace('_', ' ')}"


def _list(values: list[float]) -> str:
    return ", ".join(map(_short, values))


def _short(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= abs(value) < 1000 else f"{value:.3g}"
