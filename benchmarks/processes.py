"""What it costs to share a batch out: CPU-seconds per item of two processes together, over those of one alone.

The convolutional step is that of loop.py; the digits' is a small MLP, whose step is hardly longer than a message. The
two processes are started once and take turns with the first of them alone, so that starting up is not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from benchmarks.loop import ALPHA, TEMPERATURE, Work, budget, images, network
from benchmarks.measure import Line, median_interval
from embodkd.core import Recipe, Trainer
from embodkd.core.ranks import alone, ranks
from embodkd.methods import get_method
from embodkd.models import make_model

COMMAND = "python -m benchmarks processes"
CONVOLUTIONAL = Work(updates=4)
DIGITS = Work(updates=50, side=8, classes=10, model="mlp")


def lines(convolutional: Work = CONVOLUTIONAL, digits: Work = DIGITS) -> list[Line]:
    """Three ratios: the convolutional step with as many items per process, with as many in all, and the digits'."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seconds.json"
        works = json.dumps([vars(convolutional), vars(digits)])
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "benchmarks.processes"]
        subprocess.run([sys.executable, *launcher, str(file), works], check=True)
        seconds = json.loads(file.read_text())
    return [
        line("KD step, two processes, same batch per process", seconds["per process"], convolutional, 1.15),
        line("KD step, two processes, same batch in all", seconds["in all"], convolutional, None),
        line("KD of digits, two processes, same batch per process", seconds["digits"], digits, None),
    ]


def line(name: str, turns: list[tuple[float, float]], work: Work, target: float | None) -> Line:
    """A line of turn-by-turn ratios."""
    value, interval = median_interval([two / one for two, one in turns])
    details = {"microseconds_per_item": [[round(1e6 * t, 2) for t in turn] for turn in turns], "work": vars(work)}
    return Line(name, value, interval, "x CPU", "<=", target, COMMAND, details)


def step(work: Work) -> Callable[[int], Recipe]:
    """The distillation of `work`, for a number of items per batch."""

    def recipe(batch: int) -> Recipe:
        own = replace(work, batch=batch)
        method = get_method("kd")(temperature=TEMPERATURE, alpha=ALPHA)
        return method.recipe(net(own, 0), net(own, 1), images(own), budget=budget(own))

    return recipe


def net(work: Work, seed: int) -> nn.Module:
    """The net of the work; "mlp" is a small one of linear layers."""
    if work.model != "mlp":
        return network(work, seed)
    torch.manual_seed(seed)
    return make_model("mlp", (3, work.side, work.side), work.classes, hidden=(64,))


def per_item(make: Callable[[int], Recipe], batch: int, updates: int) -> float:
    """CPU-seconds per item of all processes that train together now, on batches of `batch` items in all."""
    recipe, trainer = make(batch), Trainer(quiet=True, checkpoint_s=1e9)
    ranks().wait()
    start = time.process_time()
    trainer.fit(recipe)
    return sum(ranks().gather(time.process_time() - start)) / (batch * updates)


def turns(work: Work, together: int) -> list[tuple[float, float]]:
    """(two processes with batches of `together` items, one with `work`'s batch), in turns; the first is not kept."""
    make, found = step(work), []
    for _ in range(work.repeats + 1):
        two, one = per_item(make, together, work.updates), 0.0
        if ranks().is_first:
            with alone():
                one = per_item(make, work.batch, work.updates)
        ranks().wait()
        found.append((two, one))
    return found[1:]


def main(file: str, works: str) -> None:
    """What each of the two processes runs."""
    torch.set_num_threads(1)
    convolutional, digits = (Work(**work) for work in json.loads(works))
    seconds = {
        "per process": turns(convolutional, 2 * convolutional.batch),
        "in all": turns(convolutional, convolutional.batch),
        "digits": turns(digits, 2 * digits.batch),
    }
    if ranks().is_first:
        Path(file).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
