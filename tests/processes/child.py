"""What each of several processes does: commands one after the other, then a training that only the first has a folder
for. Its answers go to answers_RANK.json beside what the commands leave. Started by `torchrun`, or alone."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import torch
from torch import nn

from embodkd.cli import main
from embodkd.core import Optimiser, Player, Recipe, Role, RunFolder, TensorData, Trainer, fit
from embodkd.core.ranks import ranks
from embodkd.core.terms import squared_error

DIGITS = ["data=digits", "data.train=120", "data.validation=40", "budget.updates=6", "budget.batch_size=30"]
QUICK = ["trainer.checkpoint_s=0", "trainer.precision=float64", "torch_threads=1", "quiet=true"]
CHUNKS = ["student=mlp_chunk", "student.width=8", "student.blocks=1", "student.vectors=[proprio]"]
CHUNKS += ["method.rounds=2", "method.updates_per_round=2", "method.batch_size=8", "method.warmup=0"]
ROBOT = ["teacher=runs/expert", "student=mlp", "student.vectors=[proprio]", "num_envs=5", "method.rounds=2"]
ROBOT += ["method.steps=6", "method.epochs=1", "method.batch_size=16", "method.beta=0.5", "method.warmup=0"]
COMMANDS = {
    "classifier": ["train", "teacher", *DIGITS, *QUICK, "run=runs/teacher"],
    "distilled": ["distill", "student", *DIGITS, *QUICK, "teacher=runs/teacher", "method=kd", "run=runs/distilled"],
    "imitated": ["distill", "student", "demos=demos", *CHUNKS, *QUICK, "episodes=3", "run=runs/imitated"],
    "robot": ["distill", "student", *ROBOT, *QUICK, "episodes=3", "run=runs/robot"],
    "judged": ["evaluate", "runs/expert", "episodes=5", "copies=3", "ablate=true", "torch_threads=1", "quiet=true"],
    "judged_model": ["evaluate", "runs/teacher", "part=validation", "torch_threads=1"],
    "too_few": ["distill", "student", *ROBOT, "num_envs=1", *QUICK, "run=runs/too_few"],
    "reinforced": ["train", "residual", "base=runs/expert", "run=runs/reinforced"],
    "reported": ["report", "runs/robot"],
    "listed": ["methods"],
    # Refused to the first, for whom the second waits in vain until it is gone: nothing can follow.
    "again": ["distill", "student", *DIGITS, *QUICK, "teacher=runs/teacher", "method=kd", "run=runs/distilled"],
}


def imitation(epochs: int) -> Recipe:
    """float64, with dropout: the generators of all ranks matter."""
    torch.manual_seed(4)
    student = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    teacher = nn.Linear(3, 2).double()
    data = TensorData({"input": torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()})

    def terms(batch, s, t):
        return {"imitate": squared_error(s.logits_NC, t.logits_NC)}

    optimiser = Optimiser("adam", 1e-2)
    player = Player(Role(student), terms, given={"t": Role(teacher, "frozen")}, optimiser=optimiser)
    return fit(player, data, epochs=epochs, batch_size=16)


class Stopped(Exception):
    """In place of a kill."""


def stopped(folder: Path, checkpoints: int) -> None:
    """Train in `folder` until so many checkpoints are written."""
    save, made = RunFolder.save_checkpoint, []

    def save_and_stop(self, *given):
        save(self, *given)
        made.append(given)
        if len(made) == checkpoints:
            raise Stopped

    RunFolder.save_checkpoint = save_and_stop
    try:
        with RunFolder.open(folder, {}) as run, contextlib.suppress(Stopped):
            Trainer(run, quiet=True, checkpoint_s=0.0).fit(imitation(5))
    finally:
        RunFolder.save_checkpoint = save


def resumed(folder: Path) -> dict[str, list]:
    """What the student in `folder` becomes; ranks after the first are not told that there is a folder."""
    recipe = imitation(5)
    run = RunFolder.open(folder, {}, resume=True) if ranks().is_first else None
    Trainer(run, quiet=True, checkpoint_s=0.0).fit(recipe)
    if run is not None:
        run.close()
    return {name: value.tolist() for name, value in recipe.product.state_dict().items()}


def carry_out(names: list[str]) -> dict[str, dict]:
    """Exit code and texts of each command; what nobody expects is raised, so that the others do not wait."""
    answers = {}
    for name in names:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(COMMANDS[name])
        answers[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
    return answers


if __name__ == "__main__":
    # A library that is asked from the run's folder on, whatever the commands did.
    answers = {"resumed": resumed(Path("stopped")), **carry_out(list(COMMANDS))}
    Path(f"answers_{ranks().rank}.json").write_text(json.dumps(answers))
    sys.exit(0)
