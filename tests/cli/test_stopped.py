"""Asked to stop, a command leaves with one line and the signal's exit code; its run goes on from there."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from furnish import furnished
from safetensors.torch import load_file
from toy import signalled

from embodkd.core import Trainer
from embodkd.rl.ppo import PPO

DIGITS = ["train", "teacher", "data=digits", "data.train=60", "data.validation=20", "budget.updates=null"]
DIGITS += ["budget.epochs=3", "budget.batch_size=20", "model=mlp", "model.hidden=[8]", "torch_threads=1", "quiet=true"]
TASK = ["train", "teacher", "task=peg_hole", "steps=48", "ppo.num_envs=4", "ppo.n_steps=4", "ppo.minibatch=16"]
TASK += ["evaluate_episodes=1", "network.hidden=[8]", "episodes=0", "torch_threads=1", "quiet=true"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "place", "file"),
    [(DIGITS, (Trainer, "_update"), "model"), (TASK, (PPO, "train"), "policy_last")],
    ids=["distillation", "reinforcement"],
)
def test_one_line_the_signals_exit_code_and_the_same_weights_afterwards(
    words, place, file, number, embodkd, tmp_path: Path
) -> None:
    def weights(run: str) -> dict:
        return load_file(tmp_path / run / file / "model.safetensors")

    assert embodkd(*words, "run=whole").code == 0
    with signalled(*place, at=2, number=number) as calls:
        answer = embodkd(*words, "run=asked")
    assert answer.code == 128 + number and len(calls) == 2
    assert answer.err.count("\n") == 1 and answer.err.startswith("embodkd: asked, "), answer.err
    assert (
        "its checkpoint is written; go on with resume=true" in answer.err and not (tmp_path / "asked" / file).exists()
    )
    assert embodkd(*words, "run=asked", "resume=true").code == 0
    found, wanted = weights("asked"), weights("whole")
    assert all((found[name] == wanted[name]).all() for name in wanted)


def test_what_has_no_checkpoint_leaves_at_once_and_nothing_behind(embodkd, tmp_path: Path) -> None:
    from embodkd.envs.tasks.peg_hole import PegHole

    furnished(tmp_path)
    before = {p for p in tmp_path.rglob("*")}
    words = ["record", "policy=runs/expert", "episodes=4", "num_envs=2", "only_success=false", "quiet=true"]
    for command in ([*words, "run=runs/r"], ["evaluate", "runs/expert", "episodes=2", "quiet=true"]):
        with signalled(PegHole, "step", at=3) as calls:
            answer = embodkd(*command)
        assert answer.code == 143 and len(calls) == 3 and answer.err.count("\n") == 1, answer.err
        assert {p for p in tmp_path.rglob("*")} == before
