"""What a model of a scene is judged by: how its pictures differ from those that cameras took where it never saw any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import Role, Views
from embodkd.core.config.registry import Registry
from embodkd.core.ranks import ranks
from embodkd.evaluation.judgement import Judgement
from embodkd.evaluation.result import Episode
from embodkd.parts.images.similarity import psnr as psnr_of
from embodkd.parts.images.similarity import ssim as ssim_of

MEASURES = Registry("measure of scenes")
"""Functions (seen: Seen) -> float, with `better=`, `unit=`."""

GOOD = 20.0
"""dB, of a picture that counts as shown rightly."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Seen:
    """Of N views: psnr_N (dB) and ssim_N (over pixels whose window lies inside); cell_N, the cell that most of a view
    shows; seam_S, the squared errors, mean over colours, of the pixels that show a border of two cells."""

    psnr_N: Tensor
    ssim_N: Tensor
    cell_N: Tensor
    seam_S: Tensor


@MEASURES.register("psnr", better="higher", unit="dB")
def psnr(seen: Seen) -> float:
    """The mean over views of their peak signal to noise ratios."""
    return seen.psnr_N.mean().item()


@MEASURES.register("ssim", better="higher", unit="")
def ssim(seen: Seen) -> float:
    """The mean over views of their structural similarities."""
    return seen.ssim_N.mean().item()


@MEASURES.register("seam_error", better="lower", unit="%")
def seam_error(seen: Seen) -> float:
    """The root of the mean squared error of all pixels at seams, in percent of white; 0 where there are none."""
    return 100.0 * seen.seam_S.mean().sqrt().item() if len(seen.seam_S) else 0.0


@MEASURES.register("worst_block", better="higher", unit="dB")
def worst_block(seen: Seen) -> float:
    """The lowest mean PSNR of the views that show mostly the same cell."""
    return min(seen.psnr_N[seen.cell_N == cell].mean().item() for cell in seen.cell_N.unique())


def measured(
    product: nn.Module, data: Views, classify: Any = None, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Every measure on the test by its name, and as `name@part` on every other part."""
    found: dict[str, float] = {}
    for part in data.parts():
        seen, suffix = looks(product, data, part, device), "" if part == "test" else f"@{part}"
        found |= {f"{name}{suffix}": value for name, value in _measures(seen).items()}
    return found


def judgement(model: nn.Module, data: Views, part: str, device: torch.device | str) -> Judgement:
    """Judge `model` view by view: one succeeds with a PSNR of at least GOOD; a view's return is its PSNR."""
    judged = data.part(part)
    seen = looks(model, data, part, device)
    rows = zip(judged.fields["sample_id"].tolist(), seen.psnr_N.tolist(), strict=True)
    outcomes = tuple(
        Episode(item, decibels >= GOOD, None if decibels >= GOOD else f"below {GOOD:.0f} dB", decibels, 1)
        for item, decibels in rows
    )
    success = f"a peak signal to noise ratio of at least {GOOD:.0f} dB"
    return Judgement(outcomes, success, _measures(seen))


def looks(product: nn.Module, data: Views, part: str = "test", device: torch.device | str = "cpu") -> Seen:
    """What `product` shows of a part of `data`, beside what is there.

    Of several ranks each must call this and looks at its share of the views; all get the whole.
    """
    judged, role = data.part(part), Role(product.to(device), "frozen")
    pieces = []
    for start in ranks().share(range(0, judged.size(), _AT_ONCE)):
        batch = judged.gather(np.arange(start, min(start + _AT_ONCE, judged.size())), 0).to(device)
        shown, true = role.signals(batch)["image"].double(), batch["image"].double()
        seam_S = (shown - true).square().mean(1)[batch["seam"]]
        found = (psnr_of(shown, true), ssim_of(shown, true, crop=True), batch["share"].argmax(1), seam_S)
        pieces.append(tuple(each.cpu() for each in found))
    return Seen(*(torch.cat(column) for column in zip(*ranks().merged(pieces), strict=True)))


def _measures(seen: Seen) -> dict[str, float]:
    return {name: MEASURES.get(name)(seen) for name in MEASURES}
