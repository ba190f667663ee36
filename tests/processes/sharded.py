"""What is trained in parts on two processes and whole on one; each rank of a test by fork calls `everything`."""

from __future__ import annotations

import contextlib
import copy
import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from child import Stopped
from torch import nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

from embodkd.cli import main
from embodkd.core import Optimiser, Player, Recipe, Role, RunFolder, TensorData, Trainer, fit
from embodkd.core.ranks import ranks
from embodkd.core.terms import cross_entropy as label
from embodkd.core.terms import squared_error
from embodkd.models import make_model

CLIPPED = Optimiser("adamw", 1e-2, weight_decay=0.01, max_grad_norm=0.4)


class Scaled(nn.Module):
    """One output, so that one of two processes has no part of the last layer, and a single number."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, width), nn.Linear(width, 5)])
        self.head, self.scale = nn.Linear(5, 1), nn.Parameter(torch.tensor(1.5))

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x_ND = torch.tanh(layer(x_ND))
        return self.scale * self.head(x_ND)


def rows(**fields: torch.Tensor) -> TensorData:
    return TensorData(fields)


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def averaged() -> Recipe:
    """A student with a running average of itself, a helper, a tap, a clipped gradient, and a single number."""
    student, teacher = Scaled(), nn.Linear(3, 1)
    given = {"t": Role(teacher, "frozen"), "e": Role(copy.deepcopy(student), "ema", follow=student, decay=0.8)}
    helper = nn.Linear(5, 3)

    def terms(batch, s, t, e):
        return {
            "imitate": squared_error(s.logits_NC, t.logits_NC),
            "hint": squared_error(helper(s.inner_ND), batch["input"]),
            "self": squared_error(s.logits_NC, e.logits_NC),
        }

    role = Role(student, taps={"inner": "layers.1"})
    player = Player(role, terms, given=given, helpers={"helper": helper}, optimiser=CLIPPED)
    return fit(player, rows(input=inputs(37, 3)), epochs=2, batch_size=16)


def hinted() -> Recipe:
    """A loss that hangs on an inner layer alone: nothing comes back through the output, nor through its block."""
    student = Scaled()

    def terms(batch, s):
        return {"hint": squared_error(s.inner_ND[:, :3], batch["input"])}

    player = Player(Role(student, taps={"inner": "layers.0"}), terms, optimiser=Optimiser("sgd", 0.1))
    return fit(player, rows(input=inputs(37, 3)), epochs=2, batch_size=16)


def against() -> Recipe:
    """Two players: the student is judged by a critic that learns to tell it from its teacher."""
    student, teacher, critic = Scaled(), nn.Linear(3, 1), Scaled(4)

    def seen(batch, name):
        return torch.cat([batch["input"][:, :2], batch[f"{name}.logits"]], 1)

    def view(name):
        return lambda batch: seen(batch, name)

    def fool(batch, s, t, c):
        return {"fool": c.logits_NC.sum(1), "imitate": squared_error(s.logits_NC, t.logits_NC)}

    def tell(batch, c, s, t, real):
        return {"tell": real.logits_NC.sum(1) - c.logits_NC.sum(1) + 0.1 * (c.logits_NC**2).sum(1)}

    judged = {"t": Role(teacher, "frozen"), "c": Role(critic, "passthrough", view=view("s"))}
    player = Player(Role(student), fool, given=judged, optimiser=CLIPPED)
    shown = {"s": Role(student), "t": Role(teacher, "frozen"), "real": Role(critic, view=view("t"))}
    other = Player(
        Role(critic, view=view("s")), tell, given=shown, first=("s", "t"), optimiser=CLIPPED, name="critic", every=2
    )
    return fit([player, other], rows(input=inputs(37, 3)), epochs=2, batch_size=16)


def pictures() -> Recipe:
    """Batch norm over the whole batch, wherever it lies."""
    student, teacher = (make_model("cnn", shape=(1, 8, 8), classes=4, widths=(6, 8)) for _ in range(2))

    def terms(batch, s, t):
        return {"label": label(s.logits_NC, batch["label"]), "kd": squared_error(s.logits_NC, t.logits_NC)}

    player = Player(Role(student), terms, given={"t": Role(teacher, "frozen")}, optimiser=Optimiser("adam", 1e-3))
    data = rows(input=inputs(24, 1, 8, 8), label=torch.arange(24) % 4)
    return fit(player, data, epochs=2, batch_size=12)


def language() -> Recipe:
    """A transformer whose head has its embedding's weights, and a larger one that teaches it."""
    facts = {"vocabulary": 20, "length": 6, "start": 0, "end": None}
    student = make_model("causal_lm", **facts, width=16, depth=2, heads=2)
    teacher = make_model("causal_lm", **facts, width=32, depth=2, heads=2)

    def terms(batch, s, t):
        return {"kd": squared_error(s.logits.flatten(1), t.logits.flatten(1))}

    role = Role(student, view="tokens")
    given = {"t": Role(teacher, "frozen", view="tokens")}
    tokens = torch.randint(1, 20, (24, 6), generator=torch.Generator().manual_seed(1))
    return fit(Player(role, terms, given=given, optimiser=CLIPPED), rows(tokens=tokens), epochs=2, batch_size=8)


RECIPES = {"averaged": averaged, "hinted": hinted, "against": against, "pictures": pictures, "language": language}


LIKE: dict[str, dict[str, Any]] = {"averaged": {"accumulate": 3}}
KILLED = ("averaged", "language")


def made(name: str) -> Recipe:
    torch.manual_seed(4)
    return RECIPES[name]()


def trained(name: str, folder: Path, resume: bool = False, **trainer: Any) -> dict[str, Any]:
    """What is logged at each update, and what the student becomes."""
    recipe = made(name)
    with RunFolder.open(folder, {}, resume=resume) as run:
        Trainer(run, quiet=True, log_every=1, **trainer).fit(recipe)
        logged = [row for row in run.metrics() if "student/learning_rate" in row] if ranks().is_first else []
    kinds = sorted({type(module).__name__ for module in recipe.product.modules()})
    return {"logged": logged, "kinds": kinds, **weights(recipe)}


def weights(recipe: Recipe) -> dict[str, Any]:
    return {"weights": {name: value.tolist() for name, value in recipe.product.state_dict().items()}}


def stopped(name: str, folder: Path, checkpoints: int, **trainer: Any) -> None:
    """Train until so many checkpoints are written."""
    save, done = Trainer._save, []

    def save_and_stop(self, *given):
        save(self, *given)
        done.append(given)
        if len(done) == checkpoints:
            raise Stopped

    Trainer._save = save_and_stop
    try:
        with RunFolder.open(folder, {}) as run, contextlib.suppress(Stopped):
            Trainer(run, quiet=True, log_every=1, checkpoint_s=0.0, **trainer).fit(made(name))
    finally:
        Trainer._save = save


def reading(taps: dict[str, str], terms: Callable[..., Any]) -> Recipe:
    """A student whose terms are given the weight of its first layer, too."""
    student = Scaled()
    role = Role(student, taps=taps)
    player = Player(role, lambda batch, s: {"read": terms(batch, s, student.layers[0].weight)})
    return fit(player, rows(input=inputs(8, 3)), batch_size=8)


# The first meets a part of a weight with other tensors, the second alone, the third after a pass that gathered it.
READERS: dict[str, Callable[[], Recipe]] = {
    "mixed": lambda: reading({}, lambda batch, s, w: (batch["input"] @ w.T).sum(1) + s.logits.sum(1)),
    "alone": lambda: reading({}, lambda batch, s, w: (w**2).sum().expand(len(s.logits))),
    "gathered": lambda: reading({"h": "layers.0"}, lambda batch, s, w: (w**2).sum().expand(len(s.logits))),
}


def refusal(recipe: Recipe) -> str:
    try:
        Trainer(None, quiet=True, shard="student").fit(recipe)
    except ValueError as error:
        return str(error)
    return ""


def full_disk(name: str, folder: Path) -> str:
    """What is said where the second rank has no room left for its part of the second checkpoint."""
    write, asked = HuggingFaceStorageWriter.write_data, []

    def write_data(self: Any, *given: Any) -> Any:
        asked.append(given)
        if ranks().rank == 1 and len(asked) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, *given)

    HuggingFaceStorageWriter.write_data = write_data
    try:
        trained(name, folder, shard="all", checkpoint_s=0.0)
    except OSError as error:
        return str(error)
    finally:
        HuggingFaceStorageWriter.write_data = write
    return ""


COMMAND = [
    "distill", "student", "data=digits", "data.train=60", "data.validation=20", "budget.updates=6",
    "budget.batch_size=15", "model=cnn", "model.widths=[4,8]", "teacher=runs/teacher", "method=kd",
    "trainer.checkpoint_s=0", "torch_threads=1", "quiet=true",
]  # fmt: skip
TEACHER = ["train", "teacher", *COMMAND[2:7], "model=mlp", "run=runs/teacher", *COMMAND[-3:]]


def command(words: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        return main(words), said.getvalue()


def everything() -> dict[str, Any]:
    """All that two ranks do, where one process has made a teacher: by what is trained, and what of it is shared out."""
    found: dict[str, Any] = {}
    for name in RECIPES:
        found[name] = trained(name, Path(name), shard="all", **LIKE.get(name, {}))
    found["teachers"] = trained("language", Path("teachers"), shard="teachers")
    found["replicated"] = trained("averaged", Path("replicated"), **LIKE["averaged"])
    for name in KILLED:
        stopped(name, Path(f"stopped_{name}"), 1, shard="all", **LIKE.get(name, {}))
        ranks().first_does(lambda name=name: shutil.copytree(f"stopped_{name}", f"alone_{name}"))
        found[f"resumed_{name}"] = trained(
            name, Path(f"stopped_{name}"), resume=True, shard="all", **LIKE.get(name, {})
        )
    found["full"] = full_disk("language", Path("full"))
    found["refused"] = {name: refusal(recipe()) for name, recipe in READERS.items()}
    found["command"] = command([*COMMAND, "trainer.shard=all", "run=runs/sharded"])
    return found
