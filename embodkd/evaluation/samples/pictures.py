"""What a generator draws, and what a model of a scene shows where it never saw anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from embodkd.core import Role, Splits, Views, seeded
from embodkd.core.modules.modes import evaluating
from embodkd.evaluation.samples.kept import Sample, Samples, Shown
from embodkd.evaluation.samples.media import is_picture, pixels, png, sheet
from embodkd.parts.images.similarity import psnr

_ROWS, _COLUMNS, _VIEWS = 4, 10, 3


@torch.no_grad()
def painted(model: Any, data: Splits, part: str = "test", device: torch.device | str = "cpu") -> Samples:
    """A sheet of pictures, a column for each class, of noise that is the same for every generator; none of other data.

    Beside it the first items of these classes.
    """
    about = "All draw from the same noise; a column is a class, for those that are told one."
    if not is_picture(data.shape):
        return Samples(about)
    fields, columns = data.part(part).fields, min(data.classes, _COLUMNS)
    like = next(model.to(device).parameters())
    with seeded(0, 0x5A3B):
        noise = torch.randn(_ROWS * columns, *data.shape)
    label_N = torch.arange(columns).repeat(_ROWS)
    with evaluating(model):
        made = model.generate(noise.to(like), label_N.to(like.device))
    of_class = [(fields["label"] == label).nonzero()[:, 0] for label in range(columns)]
    real = [fields["input"][items[row % len(items)]] if len(items) else torch.zeros(data.shape)
            for row in range(_ROWS) for items in of_class]  # fmt: skip
    asked = Shown(f"{_ROWS} noises for each of classes 0 to {columns - 1}")
    return Samples(about, (Sample(asked, _sheet(made, columns), _sheet(torch.stack(real), columns)),))


def looked(model: Any, data: Views, part: str = "test", device: torch.device | str = "cpu") -> Samples:
    """Views, evenly spread over the part, as the model shows them and as they are."""
    judged = data.part(part)
    rows = np.unique(np.linspace(0, judged.size() - 1, _VIEWS).round().astype(np.int64))
    batch = judged.gather(rows, 0).to(device)
    shown, true = Role(model.to(device), "frozen").signals(batch)["image"], batch["image"]
    decibels = psnr(shown.double(), true.double()).tolist()
    pairs = zip(pixels(shown.cpu().numpy()), pixels(true.cpu().numpy()), decibels, strict=True)
    samples = [
        Sample(Shown(f"view {row}"), Shown(f"{db:.1f} dB", png(made)), Shown(png=png(real)))
        for row, (made, real, db) in zip(rows.tolist(), pairs, strict=True)
    ]
    return Samples("Views that nothing was learned from, with the peak signal to noise ratio.", tuple(samples))


def _sheet(images_NCHW: torch.Tensor, columns: int) -> Shown:
    return Shown(png=png(sheet(pixels(images_NCHW.float().cpu().numpy()), columns)))
