"""Every method, every network and every learner, ended at random instants and gone on with, ends in the same bits."""

from __future__ import annotations

import hashlib
import signal
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from kills import ended_until_done, forked
from lessons import CASES, lesson
from shared import TRIALS
from small_trainings import LEARNERS, ONE_ACTION, improved, trained
from toy import fingerprint

from embodkd.core import RunFolder, Trainer
from embodkd.core.engine.members import learning_modules

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
KILLS = 5
# Whether each process is killed, or asked to stop: the first is heard at once, the second at the next update.
WAYS = {"killed": signal.SIGKILL, "asked to stop": signal.SIGTERM}
Training = Callable[[Path], bytes]


def of_method(name: str) -> Training:
    def train(folder: Path) -> bytes:
        torch.manual_seed(11)
        recipe = TRIALS[name]()
        with RunFolder.open(folder, {}, resume=True) as run:
            Trainer(run, seed=3, quiet=True, checkpoint_s=0.0).fit(recipe)
        return b"".join(map(fingerprint, learning_modules(recipe)))

    return train


def of_network(name: str, optimiser: str) -> Training:
    def train(folder: Path) -> bytes:
        network, recipe = lesson(name, optimiser)
        with RunFolder.open(folder, {}, resume=True) as run:
            Trainer(run, seed=3, quiet=True, checkpoint_s=0.0).fit(recipe)
        return fingerprint(network)

    return train


TRAININGS: dict[str, Training] = {
    **{f"method {name}": of_method(name) for name in TRIALS},
    **{f"network {name} by {optimiser}": of_network(name, optimiser) for name, optimiser in CASES},
    **{f"ppo on {name}": lambda folder, name=name: improved(name, folder) for name in ONE_ACTION},
    **{f"learner {name}": lambda folder, name=name: trained(name, folder) for name in LEARNERS},
}


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a training imports late is there before the first fork."""
    torch.set_num_threads(1)
    of_method("dagger camera")(tmp_path_factory.mktemp("warm") / "run")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", TRAININGS)
def test_ended_at_random_instants_it_ends_in_the_same_bits(name: str, way: str, tmp_path: Path, count_case) -> None:
    def into(folder: str) -> Callable[[], None]:
        def action() -> None:
            said = hashlib.sha256(TRAININGS[name](tmp_path / folder)).hexdigest()
            (tmp_path / f"{folder}.txt").write_text(said)

        return action

    whole = forked(into("whole"), tmp_path / "log")
    assert whole.code == 0, whole.said
    rng = np.random.default_rng(zlib.crc32(f"{name} {way}".encode()))
    action = into("broken")
    hits = ended_until_done(action, action, tmp_path / "log", whole.seconds, rng, KILLS, WAYS[way])
    count_case(f"trainings {way}", hits)
    assert (tmp_path / "broken.txt").read_text() == (tmp_path / "whole.txt").read_text()
