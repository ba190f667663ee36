"""Momentum-GS (Fan et al., ICCV 2025): the blocks of a large scene learn in turns and share one decoder of Gaussians,
which a running average of itself keeps calm.

Equations, for a view I of the block that learns, rendered as J, with o the opacities before they are cut off at 0:
    L_rec = 0.8 |J - I|_1 + 0.2 (1 - SSIM(J, I)) + 0.01 mean over drawn Gaussians of the product of their scales
    L_con = MSE(colour) + MSE(rotation) + MSE(scale), over the drawn ones (o > 0), + MSE(o), over all in the picture,
            between the decoder and its running average m <- 0.9 m + 0.1 decoder, asked about the same anchors
    loss = w_b * (L_rec + lambda L_con),  w_b = 2 - exp(-((P* - P_b)^2 + (10 S* - 10 S_b)^2) / (2 sigma^2)),
with P_b, S_b averages of the block's PSNR and SSIM on its validation views and P*, S* the best of all blocks.

Details
- Each block has anchors of its own and trains for `interval` updates on views that show enough of it; then the next one
  takes the decoder over. What Adam remembers of both is the block's own and waits for its next turn.
- Gradients reach the anchors through the average, too (detach_teacher=True: not), as in the authors' code.
- In the last round the first block trains the decoder for the last time; the others keep it as it is and train their
  anchors by L_rec alone. At the end each block's anchors outside its own cell are left out.
- A block weighs 1 until it is first measured, after `measure` turns. measure=0 leaves all weights at 1.
- The budget's updates are shared out among the blocks; its learning rate is the features', others follow from it.

Deviations: views per block by how much of the picture lies in its cell, which the paper's code (not read) does by its
own rule; initial anchors at known points of the surfaces in place of a coarse run; what several processes share are the
views of the block that learns, not the blocks; P and S are averaged once per measurement, where the code repeats that
in each update. Growth uses one voxel size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Every,
    Fix,
    Player,
    Recipe,
    Role,
    Signals,
    Stage,
    Step,
    Teachers,
    TensorData,
    Views,
    no_teacher,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive, Share, Whole
from embodkd.core.view import View
from embodkd.methods import METHODS
from embodkd.parts.images.similarity import ssim
from embodkd.parts.players.round_robin import Turn, Visit, in_turns
from embodkd.parts.self_distillation.momentum import Momentum
from embodkd.parts.splats.agreement import disagreement, mean_over
from embodkd.parts.splats.anchors import Anchors
from embodkd.parts.splats.block_weights import BlockWeights, showing
from embodkd.parts.splats.growth import Grow
from embodkd.parts.splats.rates import during
from embodkd.parts.splats.scene import BlockScene


@METHODS.register(
    "momentum_gs",
    domain="scenes",
    needs="views",
    family="self-distillation",
    paper="arXiv:2412.04887",
    title="Momentum Gaussian self-distillation (Momentum-GS)",
    card="momentum_gs",
)
@dataclass(frozen=True)
class MomentumGS:
    """coefficient: of the running average; consistency: lambda; sigma: of the weights. contribution: the share of a
    picture that a block's views show of it. smoothing: of the measurements. freeze: whether the last round does.

    grow_every: updates between two growths in the first half of training, 0 for none; grow_voxel: metres; grow_pull:
    the mean gradient in the picture that calls for an anchor; prune_opacity: of those that go. most_anchors: per block.
    """

    coefficient: Share = 0.9
    consistency: NotNegative = 50.0
    sigma: Positive = 10.0
    detach_teacher: bool = False
    interval: Count = 500
    measure: Whole = 2
    smoothing: Share = 0.9
    contribution: Share = 0.1
    freeze: bool = True
    structure: Share = 0.2
    volume: NotNegative = 0.01
    grow_every: Whole = 0
    grow_voxel: Positive = 0.1
    grow_pull: Positive = 0.0002
    prune_opacity: NotNegative = 0.005
    most_anchors: Count = 4096

    def recipe(self, student: nn.Module, teachers: Teachers, data: Views, *, seed: int = 0, budget: Budget) -> Recipe:
        """Turns of all blocks and what comes between; the student's anchors are put at the data's points at once."""
        no_teacher(teachers, "momentum_gs")
        if not isinstance(student, BlockScene):
            raise ValueError(f"method momentum_gs: trains a scaffold_gs, not a {type(student).__name__}")
        student.place(data.points)
        weights = BlockWeights(student.count, self.sigma, self.smoothing)
        averages = [
            Momentum(decoder, self.coefficient, view=_asked, detach=self.detach_teacher) for decoder in student.decoders
        ]
        growth = [self._growth(student.of(b)) for b in range(student.count)]
        updates = budget.updates or budget.epochs * ceil(data.train.size() / budget.batch_size)
        stages: list[Stage | Step] = []
        for visit in in_turns(student.count, max(1, updates // student.count), self.interval):
            b, shared = visit.part, len(averages) == 1
            frozen = self.freeze and visit.last and b > 0 and shared
            if frozen and b == 1:
                stages.append(Fix(student.decoders[0]))
            stages.append(Turn(student.blocks, b))
            player = self._player(student, visit, None if frozen else averages[0 if shared else b], weights, budget)
            length = {"epochs": 1, "updates_per_round": visit.updates, "name": f"block_{b}_from_{visit.before}"}
            grows = growth[b] if 2 * visit.before < visit.total else ()
            stages.append(budget.stage(player, self._views(data, "train", student, b), every=grows, **length))
            turn = -(-(visit.before + visit.updates) // self.interval)
            if self.measure and student.count > 1 and not visit.last and turn % self.measure == 0:
                judges = self._views(data, "validation", student, b)
                stages.append(partial(weights.look, Role(student, "frozen", view=_of(b)), b, judges))
        return Recipe((*stages, lambda context: student.merge()), student)

    def _player(
        self, scene: BlockScene, visit: Visit, average: Momentum | None, weights: BlockWeights, budget: Budget
    ) -> Player:
        b = visit.part

        def terms(batch: Signals, s: Signals, m: Signals | None = None) -> dict[str, Tensor]:
            found = {
                "l1": (s["image"] - batch["image"]).abs().flatten(1).mean(1),
                "structure": 1.0 - ssim(s["image"], batch["image"]),
                "volume": mean_over(s["scale"].prod(-1), s["drawn"]),
            }
            return found if m is None else {**found, "consistency": disagreement(s, m)}

        def weighs(share: float, batch: Signals, s: Signals, m: Signals) -> Tensor:
            return (share * weights()[b]).expand(batch.items_count)

        shares = {"l1": 1.0 - self.structure, "structure": self.structure, "volume": self.volume}
        behind = {name: partial(weighs, share) for name, share in {**shares, "consistency": self.consistency}.items()}
        return Player(
            Role(scene, view=_of(b)),
            terms,
            given={} if average is None else {"m": average},
            weights=shares if average is None else behind,
            helpers={"weights": weights},
            optimiser=during(visit, budget.optimiser),
            keep_moments=True,
            name=f"block_{b}",
        )

    def _growth(self, anchors: Anchors) -> Sequence[Every]:
        if not self.grow_every:
            return ()
        options = {"voxel": self.grow_voxel, "pull": self.grow_pull, "opacity": self.prune_opacity}
        return (Every(self.grow_every, Grow(anchors, **options, most=self.most_anchors)),)

    def _views(self, data: Views, part: str, scene: BlockScene, block: int) -> TensorData:
        """Those that show enough of the block; of a single one, all."""
        least = self.contribution if scene.count > 1 else 0.0
        return showing(data.part(part), block, least, f"method momentum_gs: {part}")


def _of(block: int) -> View:
    return lambda batch: {"pose": batch["pose"], "intrinsics": batch["intrinsics"], "block": block}


def _asked(batch: Signals) -> dict[str, Tensor]:
    return {"input": batch["s.input"], "size": batch["s.size"]}
