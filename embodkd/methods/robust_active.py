"""RAD (arXiv:2210.01213): ask an expensive teacher about few samples, prepared for it to be wrong about some of them.

Equation: with g_i = 1 - (largest - second largest probability of the student) the gain of candidate i, the queries are
drawn from the q that is best against an adversary who makes the teacher wrong about m of them
(parts/active/queries.py),
    max_q min_{|M| = m}  sum over i not in M of q_i g_i  -  rho sum over i in M of q_i g_i.
Then the student learns labels and answers alike:
    loss = mean_n CE(labels) on labelled samples, CE(softmax of the teacher's logits) on queried ones.

Details
- Fit on the labels; `rounds` times: gains of the pool, draw, ask, back to the first weights, fit on all that is known.
- Among the candidates that may be asked about, the more uncertain ones are less likely: their answers are worth more,
  so the adversary would spoil them first. Taking the largest gains outright is selection="greedy".
- The cost c = (1 + rho) m is that of one query, m = rho = 1, times the number b of queries. More than c candidates take
  part in the game. A cost below b could leave b or fewer, all of which would be asked about: margin sampling by another
  name. So it is refused, and so is a pool that has no more candidates than c, where the draw would be uniform.
- The pool's own labels are never learned from; they serve `facts` only. The teacher is asked about images as they are;
  where the data crop and mirror them, the student learns its answers on those too.

Deviations: none known. The paper's exact pay-off for wrong answers, its cost and how it draws several queries at once
are not certain: `cost`, and inclusion probabilities min(1, b q) filled up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Player,
    Recipe,
    Restart,
    Role,
    Selected,
    Signals,
    Splits,
    Stage,
    Step,
    Table,
    Teachers,
    TensorData,
    collect,
    cross_entropy,
    one_teacher,
    soft_cross_entropy,
)
from embodkd.core.config.ranges import Count, Positive
from embodkd.core.terms.base import precise
from embodkd.methods import METHODS
from embodkd.parts.active.joined import Joined
from embodkd.parts.active.queries import Gain, draw, gains, game, inclusion


@METHODS.register(
    "robust_active",
    domain="vision",
    needs="splits",
    family="selection",
    paper="arXiv:2210.01213",
    title="Robust active distillation (RAD)",
)
@dataclass(frozen=True)
class RobustActive:
    """rounds of `queries` answers each (below 1: that share of the pool), from the unlabelled part `pool` of the data.

    selection: "rad"; or "greedy" (the largest gains) or "uniform", to compare with. gain: "margin", "entropy" or
    "loss", see `queries.gains`. cost: (1 + rho) m of the game, see `queries.game`, at least the number of queries
    (None: twice that). restart: each fit begins with the first weights.
    """

    rounds: Count = 1
    queries: Positive = 100
    selection: Literal["rad", "greedy", "uniform"] = "rad"
    gain: Gain = "margin"
    cost: Positive | None = None
    restart: bool = True
    pool: str = "unlabelled"

    def __post_init__(self) -> None:
        if self.selection not in ("rad", "greedy", "uniform"):
            raise ValueError(f"method.selection: {self.selection!r} is not one of rad, greedy, uniform")
        if self.rounds < 1 or self.queries <= 0 or (self.queries > 1 and self.queries != int(self.queries)):
            raise ValueError(
                f"method: rounds ({self.rounds}) must be at least 1, queries ({self.queries}) a number of samples or, "
                "below 1, a share of the pool"
            )

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """A fit on the labels, then `rounds` times: ask, (restart,) fit on labels and answers."""
        t = Role(one_teacher(teachers, "robust_active", data), "frozen")
        pool, labelled = data.part(self.pool), data.train.size()
        queries = self.count(pool)
        self._check(pool.size(), queries)
        everything = Joined(data.train, pool)
        rows = 1 + max(int(part.fields["sample_id"].max()) for part in (data.train, pool))
        role = Role(student)
        plain = Player(role, self.label_terms, optimiser=budget.optimiser)
        stages: list[Stage | Step] = [budget.stage(plain, data.train, name="labels")]
        former: Table | None = None
        for k in range(self.rounds):
            asked = Table(
                partial(self.ask, student, t, pool, rows, former, seed, k), by="sample_id", name=f"answers_{k}"
            )
            stages += [asked, partial(self.facts, asked, pool), *([Restart(student)] if self.restart else [])]
            choose = partial(_known, asked, pool, labelled)
            count = labelled + (k + 1) * queries
            source = Selected(everything, choose, size_after=partial(_constant, count), refresh="never")
            player = Player(role, self.terms, given={"t": asked}, optimiser=budget.optimiser)
            stages.append(budget.stage(player, source, name=f"answers_{k}"))
            former = asked
        return Recipe(tuple(stages), student)

    def _check(self, pool: int, queries: int) -> None:
        if self.rounds * queries > pool:
            raise ValueError(
                f"method: {self.rounds} rounds of {queries} queries need a pool of that many samples; "
                f"{self.pool!r} has {pool}"
            )
        cost, last = self.cost_of(queries), pool - (self.rounds - 1) * queries
        if self.selection == "rad" and cost < queries:
            raise ValueError(
                f"method.cost: {cost:g} is less than the {queries} queries of a round, so that the game may leave no "
                "more candidates than are asked about, which is margin sampling; give null (twice the queries) or at "
                "least that many, or selection: greedy"
            )
        if self.selection == "rad" and last <= cost:
            raise ValueError(
                f"method.cost: {cost:g} needs more candidates than that; the last round has {last} of {self.pool!r} "
                "left. Ask for fewer, give a larger pool, or selection: uniform, which it would come to"
            )

    def label_terms(self, batch: Signals, s: Signals) -> dict[str, Tensor]:
        """Cross-entropy on the labels."""
        return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

    def terms(self, batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
        """Cross-entropy on the teacher's answer where there is one, else on the label."""
        # A pool sample's label is -1: the clamp only keeps the index legal in rows that `where` does not take.
        label_N = cross_entropy(s.logits_NC, batch.label_N.clamp(min=0))
        return {"ce": torch.where(t.known_N, soft_cross_entropy(s.logits_NC, t.probs_NC), label_N)}

    def ask(
        self,
        student: nn.Module,
        t: Role,
        pool: TensorData,
        rows: int,
        former: Table | None,
        seed: int,
        k: int,
        context: Context,
    ) -> dict[str, Tensor]:
        """Rows by sample id: `probs` (C), `known` and `gain` of what was asked now or before, and `chance`, how likely
        this round was to ask."""
        answer = collect(Role(student, "frozen"), pool, device=context.device)
        ids_N = answer.sample_id_N
        gain_N = gains(answer.logits_NC.double().softmax(1).numpy(), self.gain)
        open_N = np.ones(len(gain_N), bool) if former is None else ~former["known"].cpu()[ids_N].numpy()
        # In the order of the ids, so that the same samples are asked about however the pool is stored.
        by_id = ids_N.argsort().numpy()
        candidates = by_id[open_N[by_id]]
        generator = np.random.default_rng((seed, k))
        chance_M = self.chances(gain_N[candidates], self.count(pool))
        places = candidates[draw(chance_M, generator)]
        queried = TensorData({name: field[torch.from_numpy(places)] for name, field in pool.fields.items()})
        answers = collect(t, queried, device=context.device)
        if former is None:
            classes = answers.logits_NC.shape[1]
            probs_KC, known_K, gain_K = (
                torch.zeros(rows, classes),
                torch.zeros(rows, dtype=torch.bool),
                torch.zeros(rows),
            )
        else:
            probs_KC, known_K, gain_K = (former[name].cpu().clone() for name in ("probs", "known", "gain"))
        asked_N = answers.sample_id_N
        probs_KC[asked_N], known_K[asked_N] = precise(answers.logits_NC).softmax(1), True
        gain_K[asked_N] = torch.from_numpy(gain_N[places]).to(gain_K)
        chance_K = torch.zeros(rows)
        chance_K[ids_N[torch.from_numpy(candidates)]] = torch.from_numpy(chance_M).to(chance_K)
        return {"probs": probs_KC, "known": known_K, "gain": gain_K, "chance": chance_K}

    def count(self, pool: TensorData) -> int:
        """How many answers a round asks for."""
        return int(self.queries) if self.queries >= 1 else max(1, int(self.queries * pool.size()))

    def cost_of(self, queries: int) -> float:
        """The game's cost for a round of so many queries."""
        return 2.0 * queries if self.cost is None else self.cost

    def chances(self, gain_N: np.ndarray, count: int) -> np.ndarray:
        """The probability of each candidate to be among the `count` that are asked about, (N,)."""
        if self.selection == "greedy":
            chosen_N = np.zeros(len(gain_N))
            chosen_N[np.argsort(-gain_N, kind="stable")[:count]] = 1.0
            return chosen_N
        if self.selection == "uniform":
            return np.full(len(gain_N), count / len(gain_N))
        return inclusion(game(gain_N, self.cost_of(count))[0], count)

    def facts(self, asked: Table, pool: TensorData, context: Context) -> dict[str, float]:
        """The mean gain of what was asked, among how many candidates the last round drew and, where the pool has
        labels, the percent of answers that are wrong.

        Nothing is learned from this.
        """
        ids_N = pool.fields["sample_id"]
        known_N = asked["known"].cpu()[ids_N]
        found = {"mean_gain": float(asked["gain"].cpu()[ids_N][known_N].mean())}
        found["candidates"] = float((asked["chance"].cpu() > 0).sum())
        if "label" in pool.fields:
            wrong_N = asked["probs"].cpu()[ids_N].argmax(1) != pool.fields["label"]
            found["teacher_wrong"] = 100.0 * float(wrong_N[known_N].float().mean())
        return found


def _known(asked: Table, pool: TensorData, labelled: int, refill: int) -> np.ndarray:
    """The labelled places and those of the pool that were asked about."""
    known_N = asked["known"].cpu()[pool.fields["sample_id"]].numpy()
    return np.concatenate([np.arange(labelled), labelled + np.flatnonzero(known_N)])


def _constant(count: int, refill: int) -> int:
    return count
