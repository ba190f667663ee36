"""The same distillation in torchdistill: same student, teacher, images, batch and optimiser, turn by turn.

It needs an environment of its own, since torchdistill brings torchvision:

    python -m venv .peers && .peers/bin/pip install torchdistill ".[vision]" && .peers/bin/python -m benchmarks peers
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.loop import ALPHA, RATE, TEMPERATURE, Work, images, kd_recipe, network, trained
from benchmarks.measure import Contender, Line, median_interval, ratios, summary, take_turns

COMMAND = "python -m benchmarks peers"


class Logits(nn.Module):
    """A network that answers with its logits alone, as torchdistill expects."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """The logits, (N, C)."""
        return self.model(x)["logits"]


def lines(work: Work | None = None) -> list[Line]:
    """One line: our updates per CPU-second over torchdistill's."""
    distillation_box()  # what is missing is said before anything is measured
    work = work or Work()
    data, teacher = images(work), network(work, 1)
    contenders = {
        "embodkd": Contender(partial(trained, work, lambda: kd_recipe(work, data, teacher))),
        # a teacher of its own: our trainer changes how the other lies in memory
        "torchdistill": Contender(partial(by_torchdistill, work, data, network(work, 1))),
    }
    samples = take_turns(contenders, work.repeats)
    value, interval = median_interval(ratios(samples["torchdistill"], samples["embodkd"]))
    details = summary(samples, work.updates) | {"torchdistill": version("torchdistill"), "work": vars(work)}
    return [Line("KD vs torchdistill", value, interval, "x CPU", ">=", 1.15, COMMAND, details)]


def distillation_box() -> Callable[..., Any]:
    """What makes torchdistill's training loop; ValueError that names its environment where it is not installed."""
    try:
        from torchdistill.core.distillation import get_distillation_box
    except ImportError as error:
        raise ValueError(f"torchdistill is not installed here; its environment: {__doc__}") from error
    return get_distillation_box


def by_torchdistill(work: Work, data: Any, teacher: nn.Module) -> nn.Module:
    """One epoch by its DistillationBox; the trained student."""
    student, fields = network(work, 0), data.train.fields
    sets = {"train": TensorDataset(fields["input"], fields["label"])}
    box = distillation_box()(
        Logits(teacher), Logits(student), sets, settings(work), torch.device("cpu"), None, False, 1
    )
    box.pre_epoch_process(epoch=0)
    for x, y, extra in box.train_data_loader:
        box.pre_forward_process()
        loss = box.forward_process(x, y, extra)
        box.post_forward_process(loss=loss)
    box.clean_modules()
    return student


def settings(work: Work) -> dict[str, Any]:
    """Its configuration of this work: Hinton's loss, Adam, no worker processes."""
    asked = {"student_module_path": ".", "student_module_io": "output"}
    asked |= {"teacher_module_path": ".", "teacher_module_io": "output"}
    loss = {"key": "KDLoss", "kwargs": {**asked, "temperature": TEMPERATURE, "alpha": 1 - ALPHA}}
    loader = {"dataset_id": "train", "sampler": {"class_or_func": torch.utils.data.RandomSampler, "kwargs": {}}}
    return {
        "num_epochs": 1,
        "train_data_loader": loader | {"kwargs": {"batch_size": work.batch, "num_workers": 0}},
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "Adam", "kwargs": {"lr": RATE, "fused": True}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}},
        },
    }
