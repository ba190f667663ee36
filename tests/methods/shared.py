"""Every registered method trained once, tiny and in float64, by however many processes call `main`.

It writes, per trial, all that the method changed and every number that it logged; then, of each process, what it made
of weights and losses that are not the same in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from embodkd.policies import make_policy
from rows import (
    IMAGE,
    ROWS,
    attending_speaker,
    blobs,
    budget,
    images,
    large,
    large_cnn,
    large_towers,
    pairs,
    slow_budget,
    small,
    small_speaker,
    small_towers,
    speech,
)
from safetensors.torch import save_file
from sequences import Tokens, nll, sequences
from test_chunk_bc import SHORT, demos, student
from test_every_method import tried
from test_one_step import policy
from torch import Tensor, nn
from toy import Teacher, ToyTask
from views import recipe as views
from views import scene

from embodkd.core import Player, Recipe, Role, RunFolder, Signals, Trainer, fit, shuffled
from embodkd.core.engine.members import learning_modules
from embodkd.core.ranks import ranks
from embodkd.core.sources.group import GroupFacts
from embodkd.methods import get_method, method_names
from embodkd.models import make_model

Make = Callable[[], Recipe]


def vision(name: str, method: Mapping[str, Any] | None = None, **row: Any) -> Recipe:
    """What a row's method does; `method`: further hyper-parameters, `row`: other fields of the row."""
    from dataclasses import replace

    found = replace(ROWS[name], **row)
    return tried(name, found, method={**found.arguments, **(method or {})}).recipe


def cnn(classes: int, **options: Any) -> nn.Module:
    """A convolutional network with batch norm and dropout."""
    return make_model("cnn", IMAGE, classes, widths=(4, 8), **options)


def imitation(name: str, student: Callable[[], nn.Module] | None = None) -> Recipe:
    """A student, by default one with eyes and dropout, that learns from a toy teacher's drives."""
    kind = get_method(name)
    length = {"episodes": 16, "epochs": 1} if name == "bc" else {"rounds": 2, "epochs": 1}
    return kind(**length, batch_size=32, warmup=2).recipe(
        (student or Eyes)(), Teacher(), ToyTask(ranks().split(16, "copies")), seed=3
    )


class Eyes(nn.Module):
    """A student of the toy task that acts in whatever type its weights have."""

    reads = ("wrist_depth", "proprio")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.look = nn.Sequential(nn.Conv2d(1, 4, 4, 4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(18, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        wide = self.head[0].weight.dtype
        seen = self.look(obs["wrist_depth"].to(wide) / 255 - 0.5)
        return self.head(torch.cat([seen, obs["proprio"].to(wide)], 1))

    def act(self, obs: Mapping[str, Any]) -> Any:
        was = self.training
        self.eval()
        with torch.no_grad():
            found = self({k: torch.as_tensor(v) for k, v in obs.items()}).clamp(-1, 1).float().numpy()
        self.train(was)
        return found


def camera() -> nn.Module:
    """A policy with convolutions in the layout of cameras."""
    torch.manual_seed(2)
    groups = {
        "wrist_depth": GroupFacts("wrist_depth", (1, 8, 8), False, "uint8"),
        "proprio": GroupFacts("proprio", (2,), False),
    }
    return make_policy("depth_cnn", groups, 2, channels=(4, 4, 4, 4), hidden=(8,))


def chunks(name: str) -> Recipe:
    """Behaviour cloning of chunks by the policy `name`."""
    made = student(name)
    return get_method("chunk_bc")(**SHORT).recipe(made, None, demos(made), seed=3)


def one_step() -> Recipe:
    """A diffusion policy that learns to jump."""
    from test_one_step import demos

    torch.manual_seed(0)
    teacher = policy(steps=4)
    kind = get_method("one_step")(rounds=1, updates_per_round=3, batch_size=16, warmup=1)
    return kind.recipe(policy(steps=1), teacher, demos(), seed=3)


def tokens() -> Recipe:
    """A mean over the tokens of the whole batch, beside one over its items, with a teacher that is asked first."""
    student, teacher = Tokens(), Role(Tokens(1), "frozen")

    def terms(batch: Signals, s: Signals, t: Signals) -> dict[str, Tensor]:
        here, there = nll(s["logits"], batch["input"]), nll(t["logits"], batch["input"])
        each = ((here - t["logits"].mean(-1)) * batch["mask"]).square().sum(1)
        return {"token": here, "near": (here - there).square(), "each": each * batch["progress"]}

    player = Player(
        Role(student),
        terms,
        given={"t": teacher},
        first=("t",),
        mass={"token": "mask", "near": "mask"},
        scheduled={"progress": "update"},
    )
    return fit(player, sequences(), epochs=2, batch_size=9)


def lone_decoders() -> Recipe:
    """Blocks that share nothing, three turns, the last one shorter."""
    return views(scene(decoders="blocks"), updates=10, detach_teacher=True)


# what the rows' defaults leave out: statistics over the batch, dropout, partners, second players, stages
pictures: dict[str, Any] = {"student": cnn, "teachers": {"teacher": large_cnn}, "data": images}
SOUND = {"wave_channels": 4, "wave_layers": 3}
# FastSpeech: what a teacher says by itself, to a student without pitch and energy
SPOKEN: dict[str, Any] = {
    "student": partial(small_speaker, pitch=False, energy=False),
    "teachers": {"teacher": attending_speaker},
}
# the learner's turn is over at once, the other's after one update
TAKING_TURNS = {"switching": "thresholds", "low": 5.0, "high": 10.0, "patience": 1}
# gates shut within the few updates that there are
PRUNED = {"mode": "automatic", "sparsity": (0.2, 0.4), "joint": False, "gate_rate": 3.0, "price": 100.0}
TRIALS: dict[str, Make] = {
    **{name: partial(vision, name) for name in ROWS},
    **{name: partial(imitation, name) for name in ("bc", "dagger")},
    "dagger camera": partial(imitation, "dagger", camera),
    **{f"chunk_bc {name}": partial(chunks, name) for name in ("mlp_chunk", "diffusion")},
    "one_step": one_step,
    "momentum_gs": views,
    "momentum_gs detached, lone decoders": lone_decoders,
    "tokens": tokens,
    "kd batch norm, dropout": partial(vision, "kd", **{**pictures, "student": partial(cnn, dropout=0.3)}),
    "nkd mixup": partial(vision, "nkd", {"mixup": 0.5}),
    "uskd mixup": partial(vision, "uskd", {"mixup": 0.5}),
    "rkd batch norm": partial(vision, "rkd", **pictures),
    "nd dist": partial(vision, "nd", {"kd": "dist"}),
    "tgeo_kd batch norm": partial(vision, "tgeo_kd", **pictures),
    "tgeo_kd joint": partial(vision, "tgeo_kd", {"learning": "joint"}),
    "trades": partial(vision, "adversarial", {"trades": 2.0}),
    "kd_aif teacher": partial(vision, "kd_aif", {"update_teacher": True, "rounds": 2}),
    "hard mix": partial(vision, "hard", {"family": "mix", **TAKING_TURNS}),
    "hard latent": partial(vision, "hard", {"family": "latent", "vae_epochs": 1}),
    "hard shift": partial(vision, "hard", {"family": "shift"}),
    "kd3 contrast": partial(vision, "kd3", {"teacher_contrast": True, "across": True}),
    "supervised pairs": partial(vision, "supervised", student=small_towers, data=pairs, budget=slow_budget),
    "tinyclip via": partial(vision, "tinyclip", {"alpha": 0.5, "kappa": None, "via": ({"image_depth": 2},)}),
    "tinyclip automatic": partial(
        vision, "tinyclip", PRUNED, student=large_towers, budget=partial(slow_budget, epochs=8)
    ),
    "sequence_kd chunked": partial(vision, "sequence_kd", {"chunk": 5}),
    "teacher_hacking chunked": partial(vision, "teacher_hacking", {"chunk": 5}),
    "disback watched": partial(vision, "disback", {"watch": 3, "samples": 40, "path": "shuffled", "weight": "dmd"}),
    "tinyvit mix": partial(vision, "tinyvit", {"mixup": 0.8, "cutmix": 1.0, "top_k": None, "remap": (2, -1, 0)}),
    "fastspeech2 phonemes": partial(
        vision, "fastspeech2", {"trunk": 0.1, "pitch_loss": "l1"}, student=partial(small_speaker, level="phoneme")
    ),
    "fastspeech2 attention": partial(
        vision, "fastspeech2", {"durations": "attention"}, teachers={"teacher": attending_speaker}
    ),
    "fastspeech2 distilled": partial(vision, "fastspeech2", {"durations": "attention", "mels": "teacher"}, **SPOKEN),
    "fastspeech2 sound": partial(
        vision,
        "fastspeech2",
        {"slice": 3},
        student=partial(small_speaker, wave=True, **SOUND),
        data=partial(speech, audio=True),
    ),
    "supervised speech": partial(
        vision, "supervised", student=attending_speaker, teachers={}, data=speech, budget=slow_budget
    ),
    "diswot similarity": partial(
        vision, "diswot", {"sp": 10.0, "argument": "widths"}, student=cnn, teachers={"teacher": large_cnn}, data=images
    ),
}

# those that two processes work through in two pieces each, with controllers ("mtard", "even_teacher") and without
IN_PIECES = ("kd", "tokens", "momentum_gs", "dkd", "nkd mixup", "mtard", "hard shift", "even_teacher")


class Told(Trainer):
    """Keeps all numbers that it logs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(quiet=True, seed=3, log_every=1, precision="float64", **options)
        self.numbers: list[float] = []

    def _log(self, at: Any, scalars: Mapping[str, float], summary: Any) -> None:
        self.numbers += [float(value) for _, value in sorted(scalars.items())]
        super()._log(at, scalars, summary)


def trained(name: str, accumulate: int = 1) -> dict[str, Tensor]:
    """Everything that the trial changes, students, helpers and controllers, and what it logs."""
    torch.manual_seed(0)
    recipe, trainer = TRIALS[name](), Told(accumulate=accumulate)
    trainer.fit(recipe)
    found = {"logged": torch.tensor(trainer.numbers, dtype=torch.float64)}
    for k, module in enumerate(learning_modules(recipe)):
        found |= {f"{k}.{key}": value.detach().clone() for key, value in module.state_dict().items()}
    return found


def uncovered() -> set[str]:
    """Registered methods that no trial tries."""
    return {name for name in method_names() if not any(trial.split()[0] == name for trial in TRIALS)}


def unlike(rank: int) -> list[float]:
    """The weights after training, of a student that every process begins with other ones."""
    torch.manual_seed(rank)
    student, data = small(), blobs()
    Trainer(quiet=True).fit(get_method("supervised")().recipe(student, None, data, budget=budget()))
    return [float(value.double().sum()) for value in student.state_dict().values()]


def broken(folder: str, rank: int) -> str:
    """What is said of a loss that is not a number in one process's share only."""
    data = blobs()
    data.train.fields["input"][shuffled(data.train.size(), 16, 0, 0, 0, 0).__next__()[1]] = torch.nan
    with RunFolder.open(f"{folder}/run", {}) if rank == 0 else nullcontext() as run:
        try:
            Trainer(run, quiet=True).fit(get_method("kd")().recipe(small(), large(), data, budget=budget()))
        except FloatingPointError as error:
            return str(error)
    return ""


def main(folder: str) -> None:
    """What every rank does."""
    torch.set_num_threads(1)
    for trial, pieces in [*((name, 1) for name in TRIALS), *((name, 2) for name in IN_PIECES)]:
        state = trained(trial, pieces)
        if torch.distributed.get_rank() == 0:
            file = f"{folder}/{trial} {pieces}.safetensors"
            save_file({key: value.contiguous() for key, value in state.items()}, file)
    rank = torch.distributed.get_rank()
    told = {"unlike": unlike(rank), "broken": broken(folder, rank)}
    Path(f"{folder}/told_{rank}.json").write_text(json.dumps(told))
