"""Which samples to ask an expensive teacher about: gains, a game against the teacher's mistakes, draws of a fixed size.

All is arithmetic on numpy arrays, one number per candidate; nothing here knows a model.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Gain = Literal["margin", "entropy", "loss"]
FLOOR = 1e-6
ROUNDING = 1e-12


def gains(probs_NC: np.ndarray, kind: Gain = "margin") -> np.ndarray:
    """How uncertain the student is of each candidate, at least 1e-6, (N,).

    margin: 1 - (largest - second largest probability); entropy: in nats; loss: -log of the largest probability, its
    cross-entropy if its own answer were right.
    """
    if kind == "margin":
        top_N2 = np.sort(probs_NC, 1)[:, -2:]
        found_N = 1.0 - (top_N2[:, 1] - top_N2[:, 0])
    elif kind == "entropy":
        found_N = -(probs_NC * np.log(np.maximum(probs_NC, np.finfo(probs_NC.dtype).tiny))).sum(1)
    elif kind == "loss":
        found_N = -np.log(np.maximum(probs_NC.max(1), np.finfo(probs_NC.dtype).tiny))
    else:
        raise ValueError(f"gain: {kind!r} is not one of margin, entropy, loss")
    return np.maximum(found_N, FLOOR)


def game(gain_N: np.ndarray, cost: float = 2.0) -> tuple[np.ndarray, float]:
    """(q (N,), value): the distribution of one query that is best against the worst teacher (RAD, arXiv:2210.01213).

    An adversary makes the teacher wrong about m candidates; a query pays its gain where the teacher is right and loses
    rho times it where it is wrong. With cost c = (1 + rho) m and the candidates in order of falling gain,

        k = argmax over k > c of (k - c) / H_k,  H_k = sum of the first k of 1 / gain;
        q_i = 1 / (gain_i H_k) for the first k, else 0;  value = (k - c) / H_k.

    For all q have the same q_i gain_i where they are not 0: raising one of the adversary's m above the others never
    pays. Of several k with the same value the largest is taken: equal gains are treated alike. Cost 0, a teacher that
    is never wrong, takes the largest gain alone. More than `cost` candidates have q > 0, so that a cost of at least the
    number of queries leaves something to draw. Without a positive value (no more candidates than the cost) q is uniform
    and the value 0.
    """
    if len(gain_N) == 0 or not (gain_N > 0).all():
        raise ValueError("a game needs at least one candidate, and gains above 0")
    if cost < 0:
        raise ValueError(f"a game's cost is (1 + rho) m, at least 0; got {cost}")
    order_N = np.argsort(-gain_N, kind="stable")
    inverse_N = 1.0 / gain_N[order_N].astype(np.float64)
    total_N, count_N = np.cumsum(inverse_N), np.arange(1, len(gain_N) + 1)
    value_N = (count_N - cost) / total_N
    if value_N.max() <= 0:
        return np.full(len(gain_N), 1.0 / len(gain_N)), 0.0
    size = int(np.flatnonzero(value_N >= (1 - ROUNDING) * value_N.max())[-1]) + 1
    q_N = np.zeros(len(gain_N))
    q_N[order_N[:size]] = inverse_N[:size] / total_N[size - 1]
    return q_N, float(value_N[size - 1])


def inclusion(q_N: np.ndarray, size: int) -> np.ndarray:
    """The probability of each candidate to be among `size` different ones, (N,): size * q, none above 1, sum `size`.

    What is cut off at 1 goes to the others in proportion. ValueError if fewer than `size` candidates have q > 0.
    """
    if np.count_nonzero(q_N) < size:
        raise ValueError(f"queries: {size} of {np.count_nonzero(q_N)} candidates cannot be drawn; ask for fewer")
    sure_N = np.zeros(len(q_N), bool)
    while True:
        rest = size - np.count_nonzero(sure_N)
        free = q_N[~sure_N].sum()
        pi_N = np.where(sure_N, 1.0, q_N * (rest / free) if rest else 0.0)
        over_N = (pi_N > 1.0) & ~sure_N
        if not over_N.any():
            return pi_N
        sure_N |= over_N


def draw(pi_N: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Places of exactly sum(pi) different candidates, each with its probability pi (systematic sampling), sorted."""
    size = round(pi_N.sum())
    order_N = generator.permutation(len(pi_N))
    edge_N = np.cumsum(pi_N[order_N])
    # The last edge is `size` but for rounding, and every point lies below it.
    edge_N *= size / edge_N[-1]
    points = generator.random() + np.arange(size)
    return np.sort(order_N[np.searchsorted(edge_N, points, side="right")])
