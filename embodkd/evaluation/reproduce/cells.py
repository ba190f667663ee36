"""The cells of a table: every arm and teacher with every seed, each trained once, measured and stored at once.

RUN/seed_N/arms/NAME/       config.yaml, manifest.json, metrics.jsonl; product/ when trained; cell.json when measured
          /teachers/NAME/   the same
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict

from filelock import FileLock, Timeout
from torch import nn

from embodkd.core import RunFolder, Splits, Trainer
from embodkd.core.config.ranges import Count, NotNegative
from embodkd.core.config.schema import build
from embodkd.core.runs.artefact import load_weights
from embodkd.core.runs.files import atomic_folder, remove_folder, write_json, write_tensors
from embodkd.core.runs.manifest import git_commit, now
from embodkd.core.runs.reading import read_json, read_yaml
from embodkd.evaluation.judges import judge_of
from embodkd.evaluation.reproduce.corrupt import Corrupted
from embodkd.evaluation.reproduce.spec import Reproduction, Training
from embodkd.evaluation.reproduce.training import Assembled, assemble, data_of, fingerprint, own_seed, teachers_of

Row = dict[str, Any]


class _Known(TypedDict):
    fingerprint: str
    measures: dict[str, float]
    parameters: Count
    minutes: NotNegative


class _Stored(_Known, total=False):
    beware: list[str]


class Cells:
    """All cells of one seed of `table` in the folder `run`; use it as a context manager to write into it."""

    def __init__(self, table: Reproduction, seed: int, run: Path) -> None:
        self.table, self.seed, self.folder = table, seed, run / f"seed_{seed}"
        self._judges = judges(table)
        self._lock = FileLock(self.folder / ".lock", timeout=0)

    def __enter__(self) -> Cells:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise ValueError(f"{self.folder}: another process works on it; wait for it, or stop it") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def place(self, training: Training) -> Path:
        """The folder of a cell."""
        return self.folder / ("teachers" if training.teaches else "arms") / training.name

    def stored(self, training: Training) -> Row | None:
        """What is stored for `training`, None if nothing is or if it came from another config or other code."""
        file = self.place(training) / "cell.json"
        row = read_json(file, _Stored) if file.exists() else None
        return row if row is not None and row["fingerprint"] == self._fingerprint(training) else None

    def missing(self, arms: list[str]) -> list[Training]:
        """The trainings that these arms and the table's teachers still need, teachers before those who ask them."""
        found: dict[str, Training] = {}

        def visit(training: Training) -> None:
            for teacher in training.teachers.values():
                visit(teacher)
            if self.stored(training) is None:
                found.setdefault(f"{training.teaches}/{training.name}", training)

        for training in (*self.table.teachers.values(), *(self.table.arms[name].training for name in arms)):
            visit(training)
        return sorted(found.values(), key=lambda training: not training.teaches)

    def fill(self, training: Training) -> Row:
        """Train, measure and store a cell, going on where a killed process stopped; its row."""
        mark, folder = self._fingerprint(training), self.place(training)
        if folder.exists() and _mark(folder) != mark:
            remove_folder(folder)
        config = {"fingerprint": mark, "seed": self.seed, **training.config()}
        with RunFolder.open(folder, config, resume=True) as run:
            assembled = assemble(training, self.seed, self.product)
            trainer = Trainer(run, seed=own_seed(training, self.seed), quiet=True, **training.trainer)
            if training.method is not None:
                trainer.fit(assembled.recipe)
            product = assembled.recipe.product
            with atomic_folder(folder / "product") as aside:
                write_tensors(aside / "model.safetensors", product.state_dict())
            measures = self._measures(training, assembled, trainer, said(run))
            if broken := [name for name, value in measures.items() if not math.isfinite(value)]:
                said_so = f"{folder}: what training left gives measures that are not finite ({', '.join(broken)})"
                raise FloatingPointError(f"{said_so}: lower its learning rate")
            row = {
                "fingerprint": mark,
                "measures": measures,
                "beware": list(assembled.provenance.beware(assembled.data)),
                "parameters": sum(parameter.numel() for parameter in product.parameters()),
                "minutes": run.minutes,
                "git_commit": git_commit(),
                "date": now(),
            }
            write_json(folder / "cell.json", row)
            run.finish(minutes=row["minutes"])
        for leftover in ("checkpoints", "banks"):
            shutil.rmtree(folder / leftover, ignore_errors=True)
        return row

    def product(self, training: Training) -> nn.Module:
        """The trained model of a cell, a new copy each time, since some methods let their teachers learn too."""
        model = assemble(training, self.seed, self.product).recipe.product
        load_weights(model, self.place(training) / "product")
        if training.corrupt is not None:
            model = self._corrupted(model, training)
        return model.eval()

    def _corrupted(self, model: nn.Module, training: Training) -> nn.Module:
        """`model`, wrong on a share of the samples that the table's students are trained on."""
        data = data_of(self.table.data, self.seed)
        if not isinstance(data, Splits):
            raise ValueError(f"{training.name}.corrupt: permutes classes, and {data.kind} have none; leave it out")
        ids = data.train.fields["sample_id"]
        given = {"model": model, "sample_ids": ids, "classes": data.classes, "seed": own_seed(training, self.seed)}
        return build(Corrupted, training.corrupt, f"{training.name}.corrupt", **given)

    def _measures(
        self, training: Training, assembled: Assembled, trainer: Trainer, said: Mapping[str, float]
    ) -> dict[str, float]:
        product, classify = assembled.recipe.product, getattr(assembled.method, "classify", None)
        judge_it = judge_of(product, assembled.data).measured
        found = {**said, **judge_it(product, assembled.data, classify, trainer.device)}
        if training.teaches:
            return found
        for judge in self._judges:
            teachers, data = teachers_of(judge, self.product), data_of(judge.data, self.seed)
            own = judge.build_method().measures(product, teachers, data)
            taken = sorted(own.keys() & found.keys())
            if taken:
                raise ValueError(f"method {judge.method}: measures {', '.join(taken)} are taken; name them otherwise")
            found |= {name: float(value) for name, value in own.items()}
        return found

    def _fingerprint(self, training: Training) -> str:
        return fingerprint(training, self.seed, () if training.teaches else self._judges)


def judges(table: Reproduction) -> tuple[Training, ...]:
    """The `method` arms, one per kind of method, whose own measures are taken of every arm."""
    found: dict[type, Training] = {}
    for name in table.methods():
        training = table.arms[name].training
        method = training.build_method()
        if hasattr(method, "measures"):
            found.setdefault(type(method), training)
    return tuple(found.values())


def said(run: RunFolder) -> dict[str, float]:
    """What the recipe's steps without gradients returned under a plain name: measured on the way, not of the product.

    Names with a slash ("bank/rows") are for the log only.
    """
    # Lines about updates and refills name their round, which a step does not have.
    rows = [row for row in run.metrics() if "round" not in row]
    plain = {name: value for row in rows for name, value in row.items() if "/" not in name}
    return {name: value for name, value in plain.items() if name not in ("step", "time_s")}


def _mark(folder: Path) -> str | None:
    """The fingerprint that a cell's folder was opened with."""
    file = folder / "config.yaml"
    return read_yaml(file).get("fingerprint") if file.exists() else None
