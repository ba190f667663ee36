"""Is A better than B?  Paired on the same seeds, with an interval, and with the right to say "not enough episodes"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from embodkd.evaluation.interval import mcnemar, paired_interval
from embodkd.evaluation.result import Evaluation

Verdict = Literal["better", "worse", "same within margin", "not enough episodes to tell"]


@dataclass(frozen=True)
class Comparison:
    """A against B: difference of success rates with its 95 % interval, exact p-value, verdict, and ``flags``: what one
    must beware of in either figure, and what differs in the software under them (a difference may then be the
    simulator's and not the policy's)."""

    difference: float
    low: float
    high: float
    p_value: float
    verdict: Verdict
    margin: float
    episodes: int
    only_a: int
    only_b: int
    flags: tuple[str, ...] = ()
    unit: str = "episodes"

    def __str__(self) -> str:
        points = f"{100 * self.difference:+.1f} points (95 %: {100 * self.low:+.1f} to {100 * self.high:+.1f})"
        flagged = f"; beware: {'; '.join(self.flags)}" if self.flags else ""
        chance = f"p = {self.p_value:.2g}" if self.p_value >= 0.001 else "p < 0.001"
        return f"{self.verdict}: {points} on {self.episodes} shared {self.unit}, {chance}{flagged}"


def compare(a: Evaluation, b: Evaluation, margin: float = 0.02) -> Comparison:
    """Compare A with B on the seeds that both ran.

    "same within margin" when the whole interval lies within +-``margin``; "better" or "worse" when it excludes zero
    and the exact test agrees at 5 %; otherwise more episodes are needed.  ``ValueError`` when the protocols differ.
    """
    check_margin(margin)
    check_same_protocol(a, b)
    pairs = list(zip((o.success for o in a.outcomes), (o.success for o in b.outcomes), strict=True))
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    difference, low, high = paired_interval(both, only_a, only_b, neither)
    p_value = mcnemar(only_a, only_b)
    verdict = verdict_on(low, high, p_value, margin)
    warned = [f"{who}: {said}" for who, one in (("the first", a), ("the second", b)) for said in one.beware]
    flags = (*warned, *_software_differences(a, b))
    return Comparison(difference, low, high, p_value, verdict, margin, len(pairs), only_a, only_b, flags, a.unit)


def check_same_protocol(a: Evaluation, b: Evaluation) -> None:
    """Raise ``ValueError`` naming every setting in which two evaluations differ so that they cannot be compared."""
    one, other = _flat(a.protocol), _flat(b.protocol)
    differing = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    if differing:
        shown = "; ".join(f"{key}: {one.get(key)!r} and {other.get(key)!r}" for key in differing)
        raise ValueError(f"these evaluations cannot be compared, their protocols differ ({shown}); run both alike")
    if [o.seed for o in a.outcomes] != [o.seed for o in b.outcomes]:
        raise ValueError("these evaluations cannot be compared: their episodes ran on other seeds; run both alike")


def check_margin(margin: float) -> None:
    """Raise ``ValueError`` unless the margin is positive."""
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}: it is the difference that you would not care about")


def verdict_on(low: float, high: float, p_value: float, margin: float) -> Verdict:
    """What may be said of a difference with this 95 % interval and this p-value, as ``compare`` puts it."""
    if -margin <= low and high <= margin:
        return "same within margin"
    if low > 0 and p_value < 0.05:
        return "better"
    if high < 0 and p_value < 0.05:
        return "worse"
    return "not enough episodes to tell"


def _software_differences(a: Evaluation, b: Evaluation) -> tuple[str, ...]:
    def facts(evaluation: Evaluation) -> dict[str, Any]:
        manifest = evaluation.manifest
        own = {"renderer": manifest.get("renderer"), "code": _short(manifest.get("git_commit"))}
        return {**manifest.get("versions", {}), **own}

    one, other = facts(a), facts(b)
    # A policy without eyes has no renderer: that is no difference in the software.
    keys = [k for k in one if k in other and one[k] != other[k] and None not in (one[k], other[k])]
    return tuple(f"{key} {one[key]} and {other[key]}" for key in keys)


def _short(commit: str | None) -> str | None:
    return commit and commit[:10] + ("-dirty" if commit.endswith("-dirty") else "")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: list(value) if isinstance(value, tuple) else value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat
