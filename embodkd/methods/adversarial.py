"""Adversarial training (Madry et al., ICLR 2018) and TRADES (Zhang et al., ICML 2019): robust on labels alone.

Equations, x' the input found by projected gradient ascent within |x' - x| <= epsilon:
    Madry, eq. 2.1:  loss = CE(f(x'), y),                                x' climbs CE(f(x'), y);
    TRADES, eq. 5:   loss = CE(f(x), y) + trades * KL(f(x) || f(x')),    x' climbs KL(f(x) || f(x')).

Details: the attack sees the network in evaluation mode and starts anew in each update; inputs lie in `value_range`, any
normalisation is the model's own. It is the robust teacher of other methods and their baseline.

Deviations: none; `trades` = 0 is Madry's form.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from embodkd.core import Budget, Player, Prepare, Recipe, Role, Signals, Splits, Teachers, cross_entropy, kl
from embodkd.core.config.ranges import Count, NotNegative, Real, rising
from embodkd.methods import METHODS
from embodkd.parts.images.attack import PGD, against


@METHODS.register(
    "adversarial",
    domain="vision",
    needs="splits",
    family="robustness",
    paper="arXiv:1706.06083",
    title="Adversarial training",
    card="mtard",
)
@dataclass(frozen=True)
class Adversarial:
    """Hyper-parameters.

    epsilon, step_size, steps, value_range: of the attack, in units of the inputs. trades: weight of the TRADES term (6
    in its paper); with 0 the student learns from adversarial inputs only.
    """

    epsilon: NotNegative = 8 / 255
    step_size: NotNegative = 2 / 255
    steps: Count = 10
    value_range: tuple[Real, Real] = (0.0, 1.0)
    trades: NotNegative = 0.0

    def __post_init__(self) -> None:
        rising(self.value_range, "method.value_range")

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage; a teacher, if there is one, is not asked."""
        low, high = self.value_range
        attack = PGD(self.epsilon, self.step_size, self.steps, low=low, high=high)
        natural, adversarial = Role(student), Role(student, view="adversarial")

        def terms(batch: Signals, s: Signals, adversarial: Signals | None = None) -> dict[str, Tensor]:
            found = {"ce": cross_entropy(s.logits_NC, batch.label_N)}
            if adversarial is not None:
                pair = (adversarial.logits_NC, s.logits_NC)
                found["trades"] = self.trades * kl(*pair, detach_target=False)
            return found

        if self.trades:
            prepare = _divert(attack, student)
            player = Player(natural, terms, given={"adversarial": adversarial}, optimiser=budget.optimiser)
        else:
            prepare = against(attack, student)
            player = Player(adversarial, terms, optimiser=budget.optimiser)
        return budget.fit(player, data.train, prepare=(prepare,))


def _divert(attack: PGD, model: nn.Module) -> Prepare:
    """Adversarial inputs that need no labels: their answers are to differ from those on the clean inputs."""
    role = Role(model, "passthrough")

    def prepare(batch: Signals) -> dict[str, Tensor]:
        clean_NC = role.signals(batch).logits_NC.detach()
        return {"adversarial": attack(role, batch, lambda _, s: kl(s.logits_NC, clean_NC))}

    return prepare
