"""Several comparisons at once: p-values that keep the chance of any false claim among them."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for as many tests as there are, in the order given (Holm, Scand. J. Statistics 6, 1979).

    Rejecting where the adjusted value is at most 5 % makes any false rejection at all at most 5 % likely, however the
    tests depend on each other.  Raises ``ValueError`` for a number that is no p-value.
    """
    wrong = [p for p in p_values if not 0.0 <= p <= 1.0]
    if wrong:
        raise ValueError(f"a p-value lies between 0 and 1, got {wrong[0]}: give the p-values themselves, unadjusted")
    adjusted, reached = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = reached
    return adjusted
