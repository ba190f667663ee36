"""B-MTARD (Zhao et al. 2023): a clean and a robust teacher, balanced by their entropies and the losses' progress.

Equations, C classes, x' the input that projected gradient ascent on the student's cross-entropy finds near x:
    q_robust = softmax(T_robust(x') / tau_robust),  q_clean = softmax(T_clean(x) / tau_clean)
    L_robust = mean over classes of q_robust [log(q_robust + 1e-5) - log softmax(S(x'))],  L_clean the same on x
    loss     = scale * (w_robust L_robust + w_clean L_clean)
    tau_k  <- clip(tau_k - r_tau sign(H_k - H_other), 1, 10)             after each update, H the mean entropies of q
    w_k    <- w_k - r_w (w_k - l_k / sum of l), l_k = L_k / L_k of the first update; then >= 0 with sum 1

Details
- No hard labels but in the attack; student at temperature 1 and no factor T^2; the mean over classes is KL / C.
- The attack sees the student in evaluation mode; clean and adversarial inputs are two forward passes (two batches for
  batch statistics), the adversarial one first. New weights count in the same update, new temperatures in the next.
- Inputs lie in `value_range`; any normalisation is the models' own.

Deviations: entropies are the true ones (released=False), because the released form has the wrong sign for a teacher
that is one-hot to 1e-5; released=True follows it. Formulas are those of the released code, the paper's own reduction
(batch mean or mean over classes too) is not known; `scale` sets it, the released CIFAR-100 script has 10.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from embodkd.core import (
    Budget,
    Player,
    Recipe,
    Role,
    Signals,
    Splits,
    Teachers,
    class_mean_kl,
    collect,
    entropy,
    offset_entropy,
    several_teachers,
)
from embodkd.core.config.ranges import Count, NotNegative, Positive, Real, Share, rising
from embodkd.core.config.registry import near
from embodkd.core.weights.schedule import WeightCurve
from embodkd.methods import METHODS
from embodkd.parts.images.attack import PGD, against, robust_accuracy
from embodkd.parts.players.balance import EntropyBalance, LossRatio, Together


@METHODS.register(
    "mtard",
    domain="vision",
    needs="splits",
    family="robustness",
    paper="arXiv:2306.16170",
    title="Balanced multi-teacher adversarial distillation (B-MTARD)",
    card="mtard",
)
@dataclass(frozen=True)
class MTARD:
    """Hyper-parameters; the teachers are called "clean" and "robust".

    epsilon, step_size, steps, value_range: of the attack in training; judge_steps, judge_step_size: of the one that
    `measures` judges by. scale: factor on both losses. robust_weight: first weight of the robust one, the clean one has
    the rest. weight_rate (r_w) and temperature_rate (r_tau): 0 keeps what it would move; numbers, or "step" schedules
    over updates. exponent: of the relative losses. temperature_bounds: the temperatures start at the lower one.
    log_offset: what is added in the logarithm. released: compare entropies as the released code does.
    """

    epsilon: NotNegative = 8 / 255
    step_size: NotNegative = 2 / 255
    steps: Count = 10
    value_range: tuple[Real, Real] = (0.0, 1.0)
    judge_steps: Count = 20
    judge_step_size: NotNegative = 0.003
    scale: Positive = 1.0
    robust_weight: Share = 0.5
    weight_rate: WeightCurve = 0.025
    temperature_rate: WeightCurve = 0.001
    exponent: NotNegative = 1.0
    temperature_bounds: tuple[Positive, Positive] = (1.0, 10.0)
    log_offset: NotNegative = 1e-5
    released: bool = False

    def __post_init__(self) -> None:
        rising(self.value_range, "method.value_range")
        rising(self.temperature_bounds, "method.temperature_bounds")

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage against both teachers."""
        found = several_teachers(teachers, "mtard", data)
        if set(found) != {"clean", "robust"}:
            wrong = next((name for name in found if name not in ("clean", "robust")), "")
            raise ValueError(f"method mtard: needs the teachers clean and robust; {near(wrong, ('clean', 'robust'))}")
        low, high = self.value_range
        attack = PGD(self.epsilon, self.step_size, self.steps, low=low, high=high)
        weights = LossRatio(
            ("robust", "clean"),
            rate=self.weight_rate,
            start=(self.robust_weight, 1.0 - self.robust_weight),
            exponent=self.exponent,
        )
        heat = EntropyBalance(
            ("robust_entropy", "clean_entropy"),
            rate=self.temperature_rate,
            start=self.temperature_bounds[0],
            bounds=self.temperature_bounds,
            by_ratio=self.released,
        )

        def terms(batch: Signals, s: Signals, natural: Signals, robust: Signals, clean: Signals) -> dict[str, Tensor]:
            robust_NC, clean_NC = (t.logits_NC / T for t, T in zip((robust, clean), heat.temperature, strict=True))
            spread = offset_entropy if self.released else entropy
            return {
                "robust": self.scale * class_mean_kl(s.logits_NC, robust_NC, offset=self.log_offset),
                "clean": self.scale * class_mean_kl(natural.logits_NC, clean_NC, offset=self.log_offset),
                "robust_entropy": spread(robust_NC),
                "clean_entropy": spread(clean_NC),
            }

        player = Player(
            Role(student, view="adversarial"),
            terms,
            given={
                "natural": Role(student),
                "robust": Role(found["robust"], "frozen", view="adversarial"),
                "clean": Role(found["clean"], "frozen"),
            },
            weights=Together(weights, heat),
            optimiser=budget.optimiser,
        )
        return budget.fit(player, data.train, prepare=(against(attack, student),))

    def measures(self, student: nn.Module, teachers: Teachers, data: Splits) -> dict[str, float]:
        """Percent right on the test split under the judging attack, and the mean of that and the clean accuracy."""
        low, high = self.value_range
        attack = PGD(self.epsilon, self.judge_step_size, self.judge_steps, start="uniform", low=low, high=high)
        robust = robust_accuracy(student, data.test, attack)
        s = collect(Role(student, "frozen"), data.test, device=next(student.parameters()).device)
        clean = 100.0 * (s.logits_NC.argmax(1) == s.label_N).double().mean().item()
        return {"robust": robust, "weighted": (robust + clean) / 2.0}
