"""DisBack (Zhang et al., ICLR 2025): a one-step generator climbs back the path on which its teacher was spoilt.

Equations, G(z) a sample, x_t = alpha_t G(z) + sigma_t eps, D what a network makes of x_t as clean data:
    stage 1  a copy of the teacher learns to denoise samples of the untrained G; its states are kept, P_N the last
    stage 2  the fake net, from P_N on, learns to denoise samples of G as it is; each `ratio`-th update
             dL_G / dG(z) = w_t (D_fake(x_t) - D_target(x_t)) / elements,
    D_target of P_(N-1), ..., P_1, the teacher, each for `interval` updates; the last one stays.

Details
- weight "dmd" divides by the sample's mean |G(z) - D_target(x_t)| (Yin et al. 2024); "sigma2" is sigma^2 times the
  difference of scores; "uniform" is the difference of D. Levels of G's update are drawn between 2 and 98 % of all.
- Nothing but x = G(z) has a gradient; guidance changes the target alone. Data give labels and their number only.
- snapshots 0 is Diff-Instruct: no stage 1, the fake net and the target are the teacher.

Deviations
- The optional GAN term is left out. Of one update the fake net moves first, and G sees it moved, on the same z.
- The released code's slips (a schedule that stops, weights that are not loaded) are not repeated.
- path "shuffled" takes P_1 .. P_(N-1) in a random order, an ablation; two nodes are snapshots 1.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Context,
    Every,
    Player,
    Recipe,
    Role,
    Signals,
    Snapshots,
    Splits,
    Stage,
    Step,
    Teachers,
    one_teacher,
    squared_error,
    staircase,
)
from embodkd.core.config.ranges import Count, OpenShare, Ratio, Whole, rising
from embodkd.core.process import ScoreWeight
from embodkd.methods import METHODS
from embodkd.parts.generators.one_step import Guided, OneStepViews, denoiser
from embodkd.parts.generators.watch import FrechetWatch


@METHODS.register(
    "disback",
    domain="vision",
    needs="splits",
    family="diffusion",
    paper="arXiv:2408.15991",
    title="Distribution backtracking (DisBack)",
)
@dataclass(frozen=True)
class DisBack:
    """Hyper-parameters.

    snapshots: N; recorded: updates of stage 1, besides the budget. interval: updates per node; path: their order.
    ratio: updates of the fake net for one of G. weight: w_t; levels: of G's updates, of all. guidance: on the target.
    begin: G starts with the teacher's weights, or with its own. watch: updates between two looks at the distance from
    the data, 0 for none; samples: for each.
    """

    snapshots: Whole = 10
    recorded: Count = 1000
    interval: Count = 1000
    path: Literal["backwards", "shuffled"] = "backwards"
    ratio: Count = 5
    weight: ScoreWeight = "dmd"
    levels: tuple[OpenShare, OpenShare] = (0.02, 0.98)
    guidance: Ratio = 1.0
    begin: Literal["teacher", "own"] = "teacher"
    watch: Whole = 0
    samples: Count = 1000

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """Record how the teacher is spoilt, then go back."""
        rising(self.levels, "method disback.levels")
        teacher = denoiser(one_teacher(teachers, "disback", data), "disback", "teacher")
        generator = denoiser(student, "disback", "student")
        self.check(generator, teacher)
        low, high = (int(share * teacher.process.levels) for share in self.levels)
        one = OneStepViews(generator, {"fake": (0, teacher.process.levels - 1), "real": (low, high)})
        spoilt, fake = (copy.deepcopy(teacher).requires_grad_(True) for _ in range(2))
        nodes = min(self.snapshots, self.recorded)
        path = Snapshots(spoilt, order="backwards", update="node", view=one.seen("real", "s.answer"), output="answer")
        steps: list[Stage | Step] = []
        if self.begin == "teacher":
            steps.append(partial(_take_over, generator, teacher))
        steps.append(path)
        if nodes:
            # the state that stage 1 begins with is the teacher
            every = [Every(tuple(round(self.recorded * (k + 1) / nodes) for k in range(nodes)), path)]
            length = {"updates_per_round": self.recorded, "epochs": 1, "prepare": (one.draw,), "every": every}
            player = self.denoising(spoilt, Role(generator, "snapshot", view=one.begin), one, budget, "spoilt")
            steps.append(budget.stage(player, data.train, name="recording", **length))
        steps.append(path.handed_to(fake))
        watch = FrechetWatch(generator, data, self.samples, seed)
        fakes = self.denoising(fake, Role(generator, view=one.begin), one, budget, "fake")
        players = (fakes, self.climbing(generator, fake, path, one, nodes, seed, budget))
        looked = [Every(self.watch, watch)] if self.watch else []
        stage = budget.stage(players, data.train, prepare=(one.draw,), in_turn=True, every=looked, name="backtracking")
        steps += [watch, stage, watch.verdict] if self.watch else [stage]
        return Recipe(tuple(steps), generator)

    def denoising(self, net: nn.Module, samples: Role, one: OneStepViews, budget: Budget, name: str) -> Player:
        """Who learns to denoise what the generator makes."""

        def terms(batch: Signals, s: Signals, g: Signals) -> dict[str, Tensor]:
            x0 = one.sample(g["answer"], batch).detach()
            target = one.process.target(x0, one.noised(x0, batch, "fake"))
            return {"denoise": squared_error(s["answer"].flatten(1), target.flatten(1))}

        role = Role(net, view=one.seen("fake", "g.answer"))
        return Player(role, terms, {"g": samples}, first=("g",), optimiser=budget.optimiser, name=name)

    def climbing(
        self, generator: Any, fake: nn.Module, path: Snapshots, one: OneStepViews, nodes: int, seed: int, budget: Budget
    ) -> Player:
        """The generator, moved from what the fake net sees to what the node of the path does."""

        def terms(batch: Signals, s: Signals, fake: Signals, target: Signals) -> dict[str, Tensor]:
            x = one.sample(s["answer"], batch)
            x_t, level_N, _ = one.noised(x, batch, "real")
            there, here = (one.process.to_x0(net["answer"], x_t, level_N) for net in (target, fake))
            step = one.process.score_difference(x.detach(), there, here, level_N, self.weight)
            return {"climb": 0.5 * squared_error(x.flatten(1), (x - step).detach().flatten(1))}

        places = self.places(nodes, seed)
        return Player(
            Role(generator, view=one.begin),
            terms,
            {
                "fake": Role(fake, view=one.seen("real", "s.answer")),
                "target": Guided(path, self.guidance, generator.classes),
            },
            scheduled={"node": staircase(*places, at=tuple(self.interval * k for k in range(len(places))))},
            every=self.ratio,
            optimiser=budget.optimiser,
            name="generator",
        )

    def places(self, nodes: int, seed: int) -> list[int]:
        """Places on the path, 0 the last state and `nodes` the teacher, in the order of their turns."""
        between = np.arange(1, nodes)
        if self.path == "shuffled":
            between = np.random.default_rng((seed, 0xD15B)).permutation(between)
        return [*between.tolist(), nodes]

    def check(self, generator: Any, teacher: Any) -> None:
        """ValueError where the generator cannot be taught so."""
        told = [(m.process, m.centre, m.spread, m.conditional, m.shape) for m in (generator, teacher)]
        if told[0] != told[1]:
            raise ValueError(
                "method disback: student and teacher need the same schedule, levels, prediction, centre, spread, "
                "conditional and shape"
            )
        if generator.steps != 1:
            raise ValueError(f"method disback: makes a one-step generator, and student.steps={generator.steps}; give 1")
        if self.guidance != 1.0 and not teacher.conditional:
            raise ValueError(f"method disback: guidance={self.guidance} needs models with conditional=true")
        shapes = [[p.shape for p in m.state_dict().values()] for m in (generator, teacher)]
        if self.begin == "teacher" and shapes[0] != shapes[1]:
            raise ValueError("method disback: begin=teacher needs a student of the teacher's size; give begin=own")


def _take_over(generator: nn.Module, teacher: nn.Module, context: Context) -> None:
    generator.load_state_dict(teacher.state_dict())
