"""A student that learns from banks on several processes, and from the live teachers on one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from embodkd.core import (
    Bank,
    Player,
    Recipe,
    Role,
    RunFolder,
    Seeded,
    Signals,
    Source,
    Trainer,
    fit,
    soft_cross_entropy,
    sparse_cross_entropy,
)
from embodkd.core.ranks import ranks

C, EPOCHS = 4, 2


class Sentences(Source):
    """Items of 1 to 5 positions, padded to the longest of their batch."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rows = [torch.randn(1 + k % 5, 3, generator=generator, dtype=torch.float64) for k in range(30)]

    def size(self) -> int:
        return len(self.rows)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        rows = [self.rows[k] for k in index]
        batch = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(batch.shape[1]) < lengths[:, None]
        return Signals(input=batch, mask=mask, sample_id=torch.from_numpy(index))


def shifted(batch: Signals) -> torch.Tensor:
    """A view that its seed decides."""
    return batch["input"] + (batch["augment_seed"] % 7)[:, None, None]


def network(seed: int) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, C).double()


def recipe(banked: bool) -> Recipe:
    teachers = {name: Role(network(seed), "frozen", view=shifted) for name, seed in (("a", 1), ("b", 2))}
    source = Seeded(Sentences())
    student = Role(network(0), view=shifted)
    if not banked:

        def live(batch, s, a, b):
            parts = {"a": a, "b": b}
            return {n: soft_cross_entropy(s.logits, t.logits.softmax(-1), mask=batch.mask) for n, t in parts.items()}

        return fit(Player(student, live, given=teachers), source, epochs=2 * EPOCHS, batch_size=8)
    bank = Bank(teachers, source, epochs=EPOCHS, top_k=C, lengths="mask", replay="augment_seed", batch_size=5)

    def stored(batch, s, t):
        values = {n: (t[f"{n}.probs"], t[f"{n}.index"]) for n in teachers}
        return {n: sparse_cross_entropy(s.logits, *value, mask=t.mask) for n, value in values.items()}

    learning = fit(Player(student, stored, given={"t": bank}), bank.as_seen(), epochs=2 * EPOCHS, batch_size=8)
    return Recipe((bank, *learning.stages), student.model)


def student(banked: bool, folder: Path | None) -> dict[str, list]:
    made = recipe(banked)
    run = RunFolder.open(folder, {}) if folder is not None and ranks().is_first else None
    Trainer(run, quiet=True, precision="float64").fit(made)
    if run is not None:
        run.close()
    return {name: value.tolist() for name, value in made.product.state_dict().items()}


def answer() -> None:
    """What a student becomes in a folder and without one, to answers_RANK.json."""
    answers = [student(True, Path("stored")), student(True, None)]
    Path(f"answers_{ranks().rank}.json").write_text(json.dumps(answers))
