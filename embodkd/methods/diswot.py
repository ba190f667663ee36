"""DisWOT (Dong et al. 2023): the student that will learn best from a teacher, chosen before anything is trained.

Equation, of a candidate S and the teacher T, both with weights from N(0, 1), on one batch of B images:
    score = relation * M_r + semantic * M_s,    M_r = -|G_T - G_S|_F^2 / B^2,
    M_s = -sum over the C classes of |E_T - E_S|_F^2 / (C * D),
with G the products of the last maps of all pairs of items and E the outer product of a class's row of the gradient of
the last layer's weight with itself, both with rows of length 1. The best candidate is then distilled:
    loss = ce * CE + kd * T^2 * KL + sp * (M_r's distance of the trained maps) + ickd * (that of their channels).

Details
- Candidates are the given student with one argument of its constructor changed, entry by entry. What they share with
  it (the last layer) starts as it does there.
- Teacher and batch are the same for all candidates; the batch has all classes. Scores are means over `repeats` draws.
- The gradient is that of cross-entropy in closed form; rows shorter than 1e-12 stay short, and are counted.
- Candidates above max_parameters are neither drawn nor bred.
- Rivals of the score: losses of distillation between the random networks (`score` "ickd", "rkd"; SP is M_r), scores of
  the student alone ("nwot", "snip", "synflow"), "parameters" (the largest) and "random". `trains` "all" shows how well
  they rank.

Deviations: the limit is on parameters, not on operations. The five best are not trained to choose among them. Of the
rivals in the paper CC, NST, AT and Zen are not offered. Dead channels leave the ICKD loss: its gradient would explode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Teachers,
    balanced_batch,
    channel_correlation,
    collect,
    cross_entropy,
    kl,
    one_teacher,
    similarity,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive, Width
from embodkd.core.precision import as_default
from embodkd.methods import METHODS
from embodkd.parts.networks.variants import Chosen, parameter_count, variant
from embodkd.parts.search.architectures import Search, Space, rank_correlation, ranked
from embodkd.parts.search.zero_cost import ALONE, COMPARING, diswot_score, random_signals

Score = Literal["diswot", "ickd", "rkd", "nwot", "snip", "synflow", "parameters", "random"]


@METHODS.register(
    "diswot",
    domain="vision",
    needs="splits",
    family="search",
    paper="arXiv:2303.15678",
    card="diswot",
    title="Student architecture search without training (DisWOT)",
)
@dataclass(frozen=True)
class DisWOT:
    """argument, choices: what may change of the student: every entry of that argument may be any of these.

    relation, semantic: weights of the score's parts; the second needs a teacher whose last layer has the student's
    shape. batch: images to score with; repeats: draws of the weights. search: "evolution", "random", "all", or "none"
    (the student as given). evaluations: how many candidates that may take; population, sample and top are evolution's.
    ce, kd, temperature, sp, ickd: the loss of the distillation. trains: only the best, or all candidates side by side,
    of which the best by score comes out beside the rank correlation of score and accuracy, and those of the scores in
    `compare`.
    """

    argument: str = "depths"
    choices: tuple[Width, ...] = (1, 2, 3)
    relation: NotNegative = 1.0
    semantic: NotNegative = 1.0
    score: Score = "diswot"
    batch: Count = 64
    repeats: Count = 5
    search: Literal["evolution", "random", "all", "none"] = "evolution"
    evaluations: Count = 1000
    population: Count = 36
    sample: Count = 8
    top: Count = 5
    max_parameters: Count | None = None
    ce: NotNegative = 0.1
    kd: NotNegative = 0.9
    temperature: Positive = 4.0
    sp: NotNegative = 0.0
    ickd: NotNegative = 0.0
    trains: Literal["best", "all"] = "best"
    compare: tuple[Score, ...] = ("parameters",)

    def __post_init__(self) -> None:
        if self.search == "evolution" and not self.top <= self.sample <= self.population <= self.evaluations:
            raise ValueError(
                "method diswot: evolution takes the top of a sample of its population, within its evaluations, so they "
                f"must rise: top={self.top}, sample={self.sample}, population={self.population}, "
                f"evaluations={self.evaluations}"
            )

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """The choice, then one stage against the frozen teacher."""
        teacher = one_teacher(teachers, "diswot", data)
        if self.search == "none":
            return budget.fit(self.player(student, teacher, budget), data.train)
        candidates = Candidates(self, student, teacher, data, seed)
        search = Search(self.search, self.evaluations, self.population, self.sample, self.top)
        chosen = Chosen(candidates.build, len(candidates.space.choices), student)
        if self.trains == "all":
            nets = {a: candidates.build(a) for a in candidates.space if candidates.allowed(a)}
            players = [self.player(net, teacher, budget, f"student_{k}") for k, net in enumerate(nets.values())]

            def rank(context: Context) -> dict[str, float]:
                found = {a: candidates.judge(a) for a in nets}
                accuracy = accuracies(nets.values(), data)
                ranks = {"score_rank": rank_correlation(list(found.values()), accuracy)}
                for other in self.compare:
                    ranks[f"{other}_rank"] = rank_correlation([candidates.judge(a, other) for a in nets], accuracy)
                best = ranked(found)[0]
                chosen.choose(best).load_state_dict(nets[best].state_dict())
                return {**ranks, **candidates.facts(best)}

            return Recipe((budget.stage(players, data.train), rank), chosen)

        def choose(context: Context) -> dict[str, float]:
            found = search(candidates.space, candidates.judge, candidates.allowed, seed)
            best = ranked(found)[0]
            chosen.choose(best)
            return {"considered": float(len(found)), **candidates.facts(best)}

        return Recipe((choose, budget.stage(self.player(chosen, teacher, budget), data.train)), chosen)

    def player(self, student: nn.Module, teacher: nn.Module, budget: Budget, name: str = "student") -> Player:
        """The distillation of one network."""

        def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
            found = {
                "ce": cross_entropy(s.logits_NC, batch.label_N),
                "kd": kl(s.logits_NC, t.logits_NC, temperature=self.temperature),
            }
            if self.sp:
                found["sp"] = similarity(s.map_NDHW, t.map_NDHW)
            if self.ickd:
                found["ickd"] = channel_correlation(s.map_NDHW, t.map_NDHW)
            return found

        extra = {name: weight for name in ("sp", "ickd") if (weight := getattr(self, name))}
        given, weights = {"t": Role(teacher, "frozen")}, {"ce": self.ce, "kd": self.kd, **extra}
        return Player(Role(student), terms, given, weights, optimiser=budget.optimiser, name=name)


class Candidates:
    """The space around a student, and what its members are worth."""

    def __init__(self, method: DisWOT, student: nn.Module, teacher: nn.Module, data: Splits, seed: int) -> None:
        self.method, self.student, self.teacher, self.seed = method, student, teacher, seed
        own: Any = getattr(student, "arguments", {}).get(method.argument)
        if not isinstance(own, (list, tuple)):
            raise ValueError(
                f"diswot.argument: the student's {method.argument!r} is {own!r}; it must be given as a list, such as "
                f"{{name: resnet, depths: [2, 2, 2]}}, to say how many entries there are to choose"
            )
        self.space = Space((tuple(method.choices),) * len(own))
        self._judged = balanced_batch(data.train, method.batch, seed)

    @property
    def _batch(self) -> Signals:
        """The items that all are judged on."""
        return self._judged.map(as_default)

    def build(self, architecture: tuple[int, ...]) -> nn.Module:
        """The candidate, untrained."""
        return variant(self.student, "diswot.student", self.seed, *architecture, **{self.method.argument: architecture})

    def allowed(self, architecture: Any) -> bool:
        """Whether it is small enough."""
        limit = self.method.max_parameters
        return limit is None or parameter_count(self.build(architecture)) <= limit

    def judge(self, architecture: Any, score: Score | None = None) -> float:
        """Its score (None: the method's), higher is better, a function of the architecture and the seed alone."""
        score = score or self.method.score
        if score == "random":
            return float(np.random.default_rng((self.seed, *architecture)).random())
        if score == "parameters":
            return float(parameter_count(self.build(architecture)))
        if score == "diswot":
            return float(np.mean([score for score, _ in self.draws(architecture)]))
        if score in ALONE:
            net, keys = self.build(architecture), range(self.method.repeats)
            return float(np.mean([ALONE[score](net, self._batch, self.seed, key, *architecture) for key in keys]))
        return float(np.mean([COMPARING[score](s, t) for s, t in self.pairs(architecture)]))

    def pairs(self, architecture: Any) -> Iterator[tuple[Signals, Signals]]:
        """What it and the teacher say, for each draw of the weights."""
        net = self.build(architecture)
        for key in range(self.method.repeats):
            s = random_signals(net, self._batch, self.seed, key, *architecture)
            yield s, random_signals(self.teacher, self._batch, self.seed, key)

    def draws(self, architecture: Any) -> list[tuple[float, float]]:
        """(score, share of dead rows) for each draw of the weights."""
        parts = {"relation": self.method.relation, "semantic": self.method.semantic}
        return [diswot_score(s, t, self._batch.label_N, **parts) for s, t in self.pairs(architecture)]

    def facts(self, architecture: Any) -> dict[str, float]:
        """What is worth keeping of the chosen one."""
        found = {f"{self.method.argument}_{k}": float(choice) for k, choice in enumerate(architecture)}
        found["parameters"] = float(parameter_count(self.build(architecture)))
        if self.method.score == "diswot":
            scores, dead = zip(*self.draws(architecture), strict=True)
            found |= {"score": float(np.mean(scores)), "score_std": float(np.std(scores))}
            found["dead_rows"] = float(np.mean(dead))
        return found


def accuracies(nets: Iterable[nn.Module], data: Splits) -> list[float]:
    """Of each, on the validation part."""
    found = (collect(Role(net, "frozen"), data.validation) for net in nets)
    return [float((s.logits_NC.argmax(1) == s.label_N).double().mean()) for s in found]
