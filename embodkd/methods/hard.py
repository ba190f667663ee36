"""HARD (Nix, Burg, Sinz 2023): distil on augmentations that keep the teacher's answer and break the student's.

Equations, D(p, q) = tau^2 KL(softmax(p / tau) || softmax(q / tau)), x' = augmentor(x, noise):
    augmentor: minimise teacher_weight * D(T(x), T(x')) - student_weight * min(D(T(x'), S(x')), cap)
    student:   minimise D(T(x), S(x)) + augmented * D(T(x'), S(x'))

Details
- The first argument of D is detached, except T(x') in the augmentor's second term (detach_teacher=True detaches it).
- The augmentor's gradient passes through both networks, in evaluation mode, whose parameters stay; the student learns
  from x' without gradient to the augmentor. Noise is drawn anew for each. No labels.
- switching "alternate": a step of each per update, the student's first. "thresholds": the student plays until the last
  term is below `low` of its first value, the augmentor until it is above `high` of it, or `patience` updates long.
- The second term rests in an update where the teacher's class is the same on fewer than `min_agreement` of the x'.
- families of x': "affine" (spatial transformer), "mix" (blends within the batch), "latent" (moves in the latent space
  of a VAE that is trained first, for `vae_epochs`, or as many updates as a budget in updates gives), and "shift":
  nothing learned, whole-pixel shifts drawn by hand.

Deviations: only the abstract was available and no code is public; this objective is a reconstruction. cap, patience and
min_agreement are own, the VAE stands in for a hierarchical pretrained one, alternation in place of the paper's rule is
the default. The student starts untrained, not from plain distillation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Controller,
    Fix,
    Optimiser,
    Player,
    Prepare,
    Recipe,
    Role,
    Signals,
    Splits,
    Stage,
    Step,
    Teachers,
    batch_mean,
    drawn,
    kl,
    one_teacher,
    seeded,
    with_partners,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive, Share, Whole, Width
from embodkd.core.transfer import sent
from embodkd.methods import METHODS
from embodkd.parts.images.augment import Affine, Augmentor, Mix, shifts
from embodkd.parts.images.vae import VAE, Latent, evidence
from embodkd.parts.players.turns import Turns


@METHODS.register(
    "hard",
    domain="vision",
    needs="splits",
    family="augmentation",
    paper="arXiv:2305.14890",
    title="Hard augmentations for robust distillation (HARD)",
    card="hard",
)
@dataclass(frozen=True)
class HARD:
    """Hyper-parameters, see above; all of them are own choices.

    student_term: what the augmentor drives apart, student and teacher on x' or the student on x' and on x.
    augmentor_rate: Adam's, the VAE's too; 0 leaves the augmentor untrained. noise_size, hidden, spread: of its network.
    latent, latent_cap: the VAE's width and the largest move in it. pixels: the largest shift of "shift".
    """

    temperature: Positive = 2.0
    augmented: NotNegative = 1.0
    teacher_weight: NotNegative = 1.0
    student_weight: NotNegative = 1.0
    cap: Positive = 10.0
    student_term: Literal["teacher", "clean"] = "teacher"
    detach_teacher: bool = False
    min_agreement: Share = 0.9
    family: Literal["affine", "mix", "latent", "shift"] = "affine"
    augmentor_rate: NotNegative = 3e-3
    noise_size: Width = 8
    hidden: Width = 32
    spread: NotNegative = 0.02
    switching: Literal["alternate", "thresholds"] = "alternate"
    low: NotNegative = 0.1
    high: NotNegative = 0.4
    patience: Count = 50
    latent: Width = 16
    latent_cap: Positive = 2.0
    vae_epochs: Whole = 100
    pixels: Whole = 3

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage of student and augmentor; before it, if need be, the VAE's."""
        teacher = one_teacher(teachers, "hard", data)
        if self.family == "shift":
            learner = self._learner(student, teacher, budget, None)
            return budget.fit(learner, data.train, prepare=(shifts(self.pixels, "augmented"),))
        with seeded(seed, 1):
            vae = VAE(data.shape, latent=self.latent)
            augmentor = self._augmentor(data.shape[0], vae)
        turns = Turns(self.low, self.high, self.patience) if self.switching == "thresholds" else None
        learner = self._learner(student, teacher, budget, turns)
        players = [learner, self._adversary(augmentor, student, teacher, turns)]
        stage = budget.stage(players, data.train, prepare=(_noise(augmentor),), in_turn=True)
        first: tuple[Stage | Step, ...] = ()
        if self.family == "latent":
            painter = Player(Role(vae), evidence, optimiser=Optimiser("adam", self.augmentor_rate), name="vae")
            length = {"epochs": self.vae_epochs, "name": "vae"}
            first = (budget.stage(painter, data.train, **length), Fix(vae))
        return Recipe((*first, stage), student)

    def _augmentor(self, channels: int, vae: VAE) -> Augmentor:
        if self.family == "affine":
            return Affine(noise_size=self.noise_size, hidden=self.hidden, spread=self.spread)
        if self.family == "mix":
            return Mix(channels, noise_size=self.noise_size, hidden=self.hidden, spread=self.spread)
        widths = {"noise_size": self.noise_size, "hidden": self.hidden}
        return Latent(vae, self.latent, **widths, spread=self.spread, cap=self.latent_cap)

    def _learner(self, student: nn.Module, teacher: nn.Module, budget: Budget, turns: Turns | None) -> Player:
        def terms(batch: Signals, s: Signals, t: Signals, s_new: Signals, t_new: Signals) -> dict[str, Tensor]:
            return {
                "kd": kl(s.logits_NC, t.logits_NC, temperature=self.temperature),
                "gap": kl(s_new.logits_NC, t_new.logits_NC, temperature=self.temperature),
            }

        weights = {"gap": self.augmented}
        return Player(
            Role(student),
            terms,
            given={
                "t": Role(teacher, "frozen"),
                "s_new": Role(student, view="augmented"),
                "t_new": Role(teacher, "frozen", view="augmented"),
            },
            weights=weights if turns is None else turns.watching(0, "gap", weights),
            when=None if turns is None else turns.of(0),
            optimiser=budget.optimiser,
        )

    def _adversary(self, augmentor: Augmentor, student: nn.Module, teacher: nn.Module, turns: Turns | None) -> Player:
        through_s, through_t = Role(student, "passthrough"), Role(teacher, "passthrough")
        clean_s = Role(student, "frozen")

        def terms(batch: Signals, made: Signals, t: Signals) -> dict[str, Tensor]:
            changed = batch.merge(input=made.image_NCHW)
            t_new, s_new = through_t.signals(changed), through_s.signals(changed)
            other, fixed = (
                (t_new, self.detach_teacher) if self.student_term == "teacher" else (clean_s.signals(batch), True)
            )
            gap_N = kl(s_new.logits_NC, other.logits_NC, temperature=self.temperature, detach_target=fixed)
            agree_N = (t.logits_NC.argmax(1) == t_new.logits_NC.argmax(1)).float()
            goes = batch_mean(agree_N, "agreement") >= self.min_agreement
            return {
                "keep": kl(t_new.logits_NC, t.logits_NC, temperature=self.temperature),
                "break": -gap_N.clamp(max=self.cap) * goes,
                "gap": gap_N.detach(),
                "agreement": agree_N,
            }

        weights = {"keep": self.teacher_weight, "break": self.student_weight, "gap": 0.0, "agreement": 0.0}
        watch: dict[str, float] | Controller = weights if turns is None else turns.watching(1, "gap", weights)
        return Player(
            Role(augmentor),
            terms,
            given={"t": Role(teacher, "frozen")},
            weights=watch,
            when=None if turns is None else turns.of(1),
            optimiser=Optimiser("adam", self.augmentor_rate),
            name="augmentor",
        )


def _noise(augmentor: Augmentor) -> Prepare:
    """Noise for the augmentor's own step, and the images that it makes of other noise for the student's."""

    def prepare(batch: Signals) -> dict[str, Tensor]:
        size = augmentor.noise_size
        both_N2K = drawn(batch.items_count, lambda items: torch.randn(2, items, size).transpose(0, 1))
        own, other = sent(both_N2K, batch["input"]).unbind(1)
        with torch.no_grad():
            new = augmentor({"input": batch["input"], "noise": other})["image"]
        return {"noise": own, "augmented": new}

    return with_partners(prepare) if isinstance(augmentor, Mix) else prepare
