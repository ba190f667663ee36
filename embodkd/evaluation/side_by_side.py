"""Held-out views as they are and as several models of the scene show them, side by side in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import nn

from embodkd.core import Role, Views
from embodkd.core.runs.files import write_atomic
from embodkd.evaluation.pictures import INK, PAPER, write_lines

_TALL, _HEAD, _GAP = 192, 26, 6  # pixels: a view's height at the least, the line of names, between views


def side_by_side(
    models: Mapping[str, nn.Module],
    data: Views,
    file: str | Path,
    *,
    part: str = "test",
    views: Sequence[int] = (0, 1, 2),
) -> Path:
    """Write a PNG with a row for each of `views` of `part`: the truth, then what each model shows, under its name.

    The models are asked on the CPU. ValueError if the part does not exist or lacks one of the views.
    """
    from PIL import Image

    judged = data.part(part)
    if not views or not all(0 <= view < judged.size() for view in views):
        raise ValueError(f"views: {part} has views 0 to {judged.size() - 1}, got {list(views)}")
    batch = judged.gather(np.asarray(views), 0)
    columns = {"truth": batch["image"]}
    for name, model in models.items():
        columns[name] = Role(model, "frozen").signals(batch)["image"]
    times = max(1, _TALL // data.shape[1])
    height, width = (side * times + _GAP for side in data.shape[1:])
    sheet = np.full((_HEAD + height * len(views), width * len(columns), 3), PAPER, np.uint8)
    for across, (name, shown) in enumerate(columns.items()):
        write_lines(sheet, [(across * width + 4, _HEAD // 2, name, INK)])
        large = (shown.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for down, picture in enumerate(large.repeat(times, 1).repeat(times, 2)):
            top, left = _HEAD + down * height, across * width
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    buffer = BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    write_atomic(Path(file), buffer.getvalue())
    return Path(file)
