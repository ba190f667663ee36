"""How far a student is from its teacher, and from whom the teacher only imitates, while it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import Context, Role, Source, Texts
from embodkd.core.runs.files import write_json
from embodkd.core.runs.reading import read_json
from embodkd.parts.texts.power_law import leaves
from embodkd.parts.texts.written import written

Divergence = Callable[..., Tensor]


class _Stored(TypedDict):
    steps: list[int]
    proxy: list[float]
    golden: list[float]


class Watch:
    """A step within a stage: measures the student on texts that teacher and oracle wrote once to held-out prompts.

    proxy: the mean divergence of teacher and student on the teacher's texts; golden: that of oracle and student on the
    oracle's. `apart`: of oracle and teacher, on the oracle's. What it measured lies in the run's folder; what comes
    after the update at hand, of work about to be repeated, is forgotten.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, oracle: nn.Module, data: Texts, divergence: Divergence, seed: int
    ) -> None:
        self._models = {"proxy": teacher, "golden": oracle}
        self._student, self._divergence, self._teacher = student, divergence, teacher
        self._texts: dict[str, Source] = {
            name: written(
                model,
                data,
                data.validation.fields,
                np.arange(data.validation.size()),
                where="teacher_hacking",
                seed=seed + place,
            )
            for place, (name, model) in enumerate(self._models.items())
        }
        self._answers: dict[str, list[tuple[Any, Tensor]]] = {}
        self.steps: list[int] = []
        self.curves: dict[str, list[float]] = {"proxy": [], "golden": []}

    def __call__(self, context: Context) -> dict[str, float]:
        """Measure; the two figures."""
        self._keep_to(context.update - 1)
        found = {name: self._mean(name, self._student, context) for name in self._models}
        self.steps.append(context.update)
        for name, value in found.items():
            self.curves[name].append(value)
        if context.folder is not None:
            write_json(_file(context.folder), {"steps": self.steps, **self.curves})
        return {f"held_out/{name}": value for name, value in found.items()}

    def restore(self, context: Context) -> None:
        """Read what was measured up to this update."""
        if context.folder is not None and _file(context.folder).exists():
            stored = read_json(_file(context.folder), _Stored)
            self.steps = list(stored["steps"])
            self.curves = {"proxy": list(stored["proxy"]), "golden": list(stored["golden"])}
            self._keep_to(context.update)

    def verdict(self, context: Context) -> dict[str, float]:
        """A step after the stage: what the curves came to; see `facts`."""
        apart = self._mean("golden", self._teacher, context)
        return {"apart": apart, **facts(self.steps, self.curves["proxy"], self.curves["golden"])}

    def _keep_to(self, update: int) -> None:
        kept = sum(step <= update for step in self.steps)
        self.steps = self.steps[:kept]
        self.curves = {name: values[:kept] for name, values in self.curves.items()}

    @torch.no_grad()
    def _mean(self, name: str, model: nn.Module, context: Context) -> float:
        """The mean divergence of `model` from who wrote these texts, on them."""
        if name not in self._answers:
            self._answers[name] = list(self._asked(name, context))
        model.to(context.device)
        role, values = Role(model, "frozen", view="tokens"), []
        for batch, logits_NTV in self._answers[name]:
            values.append(self._divergence(role.signals(batch)["logits"], logits_NTV, mask=batch["mask"]))
        return float(torch.cat(values).double().mean())

    def _asked(self, name: str, context: Context, size: int = 128) -> Any:
        source, writer = self._texts[name], self._models[name].to(context.device)
        source.refill(0)
        role = Role(writer, "frozen", view="tokens")
        for start in range(0, source.size(), size):
            batch = source.gather(np.arange(start, min(start + size, source.size())), 0).to(context.device)
            yield batch, role.signals(batch)["logits"]


def facts(steps: list[int], proxy: list[float], golden: list[float]) -> Mapping[str, float]:
    """What two curves over the updates say.

    gap: the last golden minus the least; hacked: by how much golden had risen, from its least, when proxy was least
    (above 0: the student came closer to its teacher and further from the oracle); window: the updates between these
    two; at_least_proxy: golden where proxy is least, which needs no oracle to be found; alarm: the update at which
    proxy left its own power law, -1 if it never did, and golden then (at the end if it never did).
    """
    best, nearest = int(np.argmin(golden)), int(np.argmin(proxy))
    since = [step - steps[0] for step in steps]
    alarm = leaves(since[1:], proxy[1:])
    at_alarm = golden[-1] if alarm is None else golden[since.index(int(alarm))]
    return {
        "proxy": proxy[-1],
        "golden": golden[-1],
        "least_proxy": proxy[nearest],
        "least_golden": golden[best],
        "gap": golden[-1] - golden[best],
        "hacked": golden[nearest] - min(golden[: nearest + 1]),
        "window": float(steps[nearest] - steps[best]),
        "at_least_proxy": golden[nearest],
        "alarm": -1.0 if alarm is None else alarm,
        "at_alarm": at_alarm,
    }


def _file(folder: Path) -> Path:
    return folder / "hacking.json"
