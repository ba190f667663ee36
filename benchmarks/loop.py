"""What the Trainer costs around forward, backward and optimiser, on a ResNet-8x4 at 32 x 32 and batches of 64.

Against a loop written by hand for the same distillation, and with a teacher that was banked against none at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from benchmarks.measure import REPEATS, Contender, Line, Sample, median_interval, ratios, summary, take_turns
from embodkd.core import Bank, Budget, Context, Player, Recipe, Role, Splits, Stage, TensorData, Trainer, shuffled
from embodkd.methods import get_method
from embodkd.models import make_model

COMMAND = "python -m benchmarks loop"
TEMPERATURE, ALPHA, RATE = 4.0, 0.5, 1e-3


@dataclass(frozen=True)
class Work:
    """One call: so many updates on random images. batch items each, images of side x side."""

    updates: int = 8
    batch: int = 64
    side: int = 32
    classes: int = 100
    model: str = "resnet8x4"
    repeats: int = REPEATS


def lines(work: Work | None = None) -> list[Line]:
    """Three lines: the share of the time around the network, the step by hand, the banked teacher."""
    work = work or Work()
    data, teacher = images(work), network(work, 1)
    with_teacher = partial(trained, work, lambda: kd_recipe(work, data, teacher))
    by_hand = partial(hand_written, work, data, network(work, 1))
    bank = Bank(Role(teacher, "frozen"), data.train, batch_size=work.batch)
    bank(Context(None, 0, torch.device("cpu")))
    steps = take_turns({"embodkd": Contender(with_teacher), "by hand": Contender(by_hand)}, work.repeats)
    banked = take_turns(
        {
            "banked teacher": Contender(partial(trained, work, lambda: banked_recipe(work, data, teacher, bank))),
            "no teacher": Contender(partial(trained, work, lambda: alone_recipe(work, data))),
        },
        work.repeats,
    )
    shares = [100.0 * outside(lambda: kd_recipe(work, data, teacher)) for _ in range(work.repeats)]
    value, interval = median_interval(shares)
    details = {"unit_of_rates": "updates", "work": vars(work), "percent": [round(s, 3) for s in shares]}
    return [
        Line("trainer around the network", value, interval, "% CPU", "<=", 5.0, COMMAND, details),
        ratio(work, "KD step / by hand", steps, ("embodkd", "by hand"), "<=", 1.01),
        ratio(work, "epoch banked vs no teacher", banked, ("no teacher", "banked teacher"), ">=", 0.9),
    ]


def ratio(
    work: Work, name: str, samples: dict[str, list[Sample]], pair: tuple[str, str], sense: Any, target: float | None
) -> Line:
    """A line of turn-by-turn ratios of CPU time."""
    value, interval = median_interval(ratios(samples[pair[0]], samples[pair[1]]))
    details = summary(samples, work.updates) | {"unit_of_rates": "updates", "work": vars(work)}
    return Line(name, value, interval, "x CPU", sense, target, COMMAND, details)


def images(work: Work) -> Splits:
    """Random images and labels, one epoch of the work to train on."""
    generator = torch.Generator().manual_seed(0)
    parts, first = [], 0
    for size in (work.updates * work.batch, 8, 8):
        fields = {
            "input": torch.randn(size, 3, work.side, work.side, generator=generator),
            "label": torch.randint(work.classes, (size,), generator=generator),
            "sample_id": torch.arange(first, first + size),
        }
        parts.append(TensorData(fields))
        first += size
    return Splits(*parts, classes=work.classes, shape=(3, work.side, work.side))


def network(work: Work, seed: int) -> nn.Module:
    """The net of the work."""
    torch.manual_seed(seed)
    return make_model("resnet", (3, work.side, work.side), work.classes, size=work.model)


def budget(work: Work) -> Budget:
    """One epoch."""
    return Budget(epochs=1, batch_size=work.batch)


def kd_recipe(work: Work, data: Splits, teacher: nn.Module) -> Recipe:
    """Plain distillation from a teacher that is asked in each update."""
    method = get_method("kd")(temperature=TEMPERATURE, alpha=ALPHA)
    return method.recipe(network(work, 0), teacher, data, budget=budget(work))


def banked_recipe(work: Work, data: Splits, teacher: nn.Module, bank: Bank) -> Recipe:
    """The same from what it said before."""
    return changed(kd_recipe(work, data, teacher), given={"t": bank})


def alone_recipe(work: Work, data: Splits) -> Recipe:
    """The same student from labels alone."""
    return get_method("supervised")().recipe(network(work, 0), None, data, budget=budget(work))


def changed(recipe: Recipe, **player: Any) -> Recipe:
    """A recipe of one stage and one player with other fields of the player."""
    (stage,) = recipe.stages
    assert isinstance(stage, Stage)
    (only,) = stage.players
    return Recipe((replace(stage, players=(replace(only, **player),)),), recipe.product)


def trained(work: Work, make: Callable[[], Recipe]) -> None:
    """One epoch by the Trainer."""
    summary = Trainer(quiet=True).fit(make())
    assert summary.updates == work.updates


def hand_written(work: Work, data: Splits, teacher: nn.Module) -> None:
    """The same epoch as anyone would write it, in the layout of the Trainer."""
    student, teacher = (
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub forgets it
        for net in (network(work, 0).train(), teacher.eval())
    )
    optimiser = torch.optim.Adam(student.parameters(), RATE, fused=True)
    inputs, labels = data.train.fields["input"], data.train.fields["label"]
    for index in shuffled(len(inputs), work.batch, 0, 0, 0, 0):  # the order of the Trainer
        rows = torch.from_numpy(index)
        x, y = inputs.index_select(0, rows), labels.index_select(0, rows)
        optimiser.zero_grad()
        z = student(x)["logits"]
        with torch.no_grad():
            t = teacher(x)["logits"]
        soft = F.kl_div(
            (z / TEMPERATURE).log_softmax(1), (t / TEMPERATURE).log_softmax(1), reduction="batchmean", log_target=True
        )
        loss = (1 - ALPHA) * F.cross_entropy(z, y) + ALPHA * TEMPERATURE**2 * soft
        loss.backward()
        optimiser.step()


class Clock:
    """CPU-seconds of what runs inside it."""

    def __init__(self) -> None:
        self.seconds, self._since = 0.0, 0.0

    def start(self, *_: Any) -> None:
        """Begin to count."""
        self._since = time.process_time()

    def stop(self, *_: Any) -> None:
        """Count what has passed."""
        self.seconds += time.process_time() - self._since

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, counted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.start()
            answer = function(*args, **kwargs)
            self.stop()
            return answer

        return counted


def outside(make: Callable[[], Recipe]) -> float:
    """The share of CPU time of a training by one player that is not forward, loss, backward or optimiser."""
    clock, recipe = Clock(), make()
    (stage,) = recipe.stages
    assert isinstance(stage, Stage)
    recipe = changed(recipe, terms=clock.around(stage.players[0].terms))
    (player,) = recipe.stages[0].players  # type: ignore[union-attr]
    with counted_network(clock, player):
        start = time.process_time()
        Trainer(quiet=True).fit(recipe)
        whole = time.process_time() - start
    return 1.0 - clock.seconds / whole


@contextmanager
def counted_network(clock: Clock, player: Player) -> Iterator[None]:
    """While open, the clock counts the player's forward passes, all backward passes and all optimisers' steps."""
    models = [player.train.model, *(g.model for g in player.given.values() if isinstance(g, Role))]
    handles: list[Any] = [register_optimizer_step_pre_hook(clock.start), register_optimizer_step_post_hook(clock.stop)]
    for model in models:
        handles += [model.register_forward_pre_hook(clock.start), model.register_forward_hook(clock.stop)]
    try:
        with mock.patch.object(torch.Tensor, "backward", clock.around(torch.Tensor.backward)):
            yield
    finally:
        for handle in handles:
            handle.remove()
