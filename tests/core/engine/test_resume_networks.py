"""Every registered network, in whatever layout its weights lie in memory, goes on bit for bit; every optimiser too."""

import pytest
from lessons import CASES, lesson
from toy import fingerprint, stops_until

from embodkd.core import RunFolder, Trainer


@pytest.mark.parametrize(
    ("name", "optimiser", "precision"), [*((*case, "no") for case in CASES), ("policy depth_cnn", "adam", "bf16")]
)
def test_stopped_at_every_checkpoint_it_ends_in_the_same_bits(name, optimiser, precision, tmp_path, monkeypatch):
    def run(folder):
        network, recipe = lesson(name, optimiser)
        with RunFolder.open(tmp_path / folder, {}, resume=True) as opened:
            Trainer(opened, seed=3, quiet=True, checkpoint_s=0.0, precision=precision).fit(recipe)
        return fingerprint(network)

    whole = run("whole")
    assert whole != fingerprint(lesson(name, optimiser)[0])
    assert stops_until(whole, lambda: run("broken"), monkeypatch, most=3) == 2
