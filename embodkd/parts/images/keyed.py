"""Views of images that a stored number gives back bit for bit: crop, flip, colour, erasing, and mixing in pairs.

Every draw for an item comes from one PCG64 generator that starts from the item's number, so a view is the same in any
batch, order and process, for a teacher today and a student next year. Sources give the numbers: `Seeded`, and `Paired`
for mixing. Nothing here touches a global generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embodkd.core.config.ranges import NotNegative, Part, Share, Some
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source
from embodkd.core.sources.wrapped import Wrapped
from embodkd.core.transfer import on_host, sent

SEED = "augment_seed"
_DRAWS = 13  # of one item, besides the colours of what is erased
_CROP_ASPECT, _ERASE_ASPECT = math.log(4 / 3), math.log(10 / 3)
_ERASE_AREA = (0.02, 1 / 3)


@dataclass(frozen=True)
class KeyedView:
    """A role's view: the field `input` (N, C, H, W) in [0, 1] as the field `augment_seed` (N,) int32 says.

    crop: the smallest share of the area that a crop keeps, resized to the whole; 1 crops nothing. flip: how often an
    image is mirrored. colour: brightness, contrast and saturation are each multiplied by a number in 1 - colour ..
    1 + colour. erase: how often a rectangle is painted over. mixup, cutmix: alpha of the Beta distribution of the share
    that an image keeps in a mix with its `partner`, 0 is off; with both on a coin decides. Source of the ranges: timm's
    transforms, as TinyViT's recipe has them.
    """

    crop: Some = 0.35
    flip: Share = 0.5
    colour: Part = 0.4
    erase: Share = 0.25
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0

    @property
    def mixes(self) -> bool:
        """Whether it needs partners."""
        return self.mixup > 0 or self.cutmix > 0

    def __call__(self, batch: Signals) -> Tensor:
        """The views."""
        own_NCHW = self.alone(batch["input"], batch[SEED])
        if not self.mixes:
            return own_NCHW
        other_NCHW = self.alone(batch["partner"], batch["partner_seed"])
        return self.mixed(own_NCHW, other_NCHW, on_host(batch[SEED]) ^ on_host(batch["partner_seed"]))

    def alone(self, images_NCHW: Tensor, seed_N: Tensor) -> Tensor:
        """Each image by itself."""
        channels = images_NCHW.shape[1]
        drawn = np.stack([_generator(seed).random(_DRAWS + channels) for seed in on_host(seed_N).tolist()])
        draws_KN = sent(torch.from_numpy(drawn.T.copy()), images_NCHW)
        views = _cropped(images_NCHW, draws_KN[:5], self.crop, self.flip)
        views = _coloured(views, 1.0 + self.colour * (2.0 * draws_KN[5:8] - 1.0))
        return _erased(views, draws_KN[8:_DRAWS], draws_KN[_DRAWS:].T, self.erase)

    def mixed(self, own_NCHW: Tensor, other_NCHW: Tensor, seed_N: Tensor) -> Tensor:
        """Each image with its partner; seed: the two numbers XOR, so that both partners draw the same."""
        height, width = own_NCHW.shape[-2:]
        share_N, by_box_N, centres = [], [], []
        for seed in on_host(seed_N).tolist():
            rng = _generator(seed)
            by_box = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
            alpha = self.cutmix if by_box else self.mixup
            share_N.append(rng.beta(alpha, alpha))
            by_box_N.append(by_box)
            centres.append(rng.random(2))
        at = own_NCHW.device
        share_N111 = sent(torch.tensor(share_N, dtype=own_NCHW.dtype), at)[:, None, None, None]
        centre_N2 = sent(torch.from_numpy(np.stack(centres)), own_NCHW)
        side_N = (1.0 - share_N111.flatten()).sqrt()
        box_N1HW = (
            _inside(centre_N2[:, 1], side_N, height)[:, None, :, None]
            & (_inside(centre_N2[:, 0], side_N, width)[:, None, None, :])
        )
        pasted = torch.where(box_N1HW, other_NCHW, own_NCHW)
        blended = share_N111 * own_NCHW + (1.0 - share_N111) * other_NCHW
        return torch.where(sent(torch.tensor(by_box_N), at)[:, None, None, None], pasted, blended)


class Paired(Wrapped):
    """The items of `source`, which have seeds, each with another one to be mixed with: `partner` and `partner_seed`.

    Pairs are drawn anew in every pass, by (seed, pass) and the sample ids. An item brings its partner along, so batches
    may be of any size and order. ValueError for an odd number of items: one would have no partner.
    """

    def __init__(self, source: Source, *, seed: int = 0) -> None:
        super().__init__(source)
        if source.size() % 2:
            raise ValueError(f"images are mixed in pairs, and {source.size()} is an odd number of them: leave one out")
        self.seed = seed
        self._known: tuple[int, np.ndarray] | None = None

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index` and their partners in this pass."""
        other = self.source.gather(self._partners(epoch)[index], epoch)
        return self.source.gather(index, epoch).merge(partner=other["input"], partner_seed=other[SEED])

    def _partners(self, epoch: int) -> np.ndarray:
        if self._known is None or self._known[0] != epoch:
            count = self.source.size()
            by_id = self.source.gather(np.arange(count), 0)["sample_id"].argsort().numpy()
            pairs = by_id[np.random.default_rng((self.seed, epoch, 0x9A12)).permutation(count)].reshape(-1, 2)
            found = np.empty(count, np.int64)
            found[pairs] = pairs[:, ::-1]
            self._known = (epoch, found)
        return self._known[1]


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _between(low: float, high: float, draw_N: Tensor) -> Tensor:
    return low + (high - low) * draw_N


def _sides(area_N: Tensor, log_aspect_N: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width, of 1, of rectangles of this area."""
    stretch_N = (log_aspect_N / 2).exp()
    return (area_N.sqrt() / stretch_N).clamp(max=1.0), (area_N.sqrt() * stretch_N).clamp(max=1.0)


def _cropped(images_NCHW: Tensor, draws_5N: Tensor, least: float, flip: float) -> Tensor:
    area, aspect, y, x, coin = draws_5N
    height, width = images_NCHW.shape[-2:]
    h_N, w_N = _sides(_between(least, 1.0, area), _between(-_CROP_ASPECT, _CROP_ASPECT, aspect))
    if least == 1.0:
        h_N, w_N = torch.ones_like(h_N), torch.ones_like(w_N)
    rows_NH = ((1.0 - h_N) * y)[:, None] + h_N[:, None] * _centres(height, images_NCHW)
    columns_NW = ((1.0 - w_N) * x)[:, None] + w_N[:, None] * _centres(width, images_NCHW)
    columns_NW = torch.where((coin < flip)[:, None], columns_NW.flip(1), columns_NW)
    shape = (len(images_NCHW), height, width)
    # no matrix product makes this grid: its sums would depend on how many images there are
    grid_NHW2 = torch.stack([columns_NW[:, None].expand(shape), rows_NH[:, :, None].expand(shape)], -1) * 2.0 - 1.0
    return functional.grid_sample(images_NCHW, grid_NHW2, padding_mode="border", align_corners=False)


def _coloured(images_NCHW: Tensor, factors_3N: Tensor) -> Tensor:
    bright, contrast, saturation = factors_3N[:, :, None, None, None]
    images_NCHW = (images_NCHW * bright - 0.5) * contrast + 0.5
    grey_N1HW = images_NCHW.mean(1, keepdim=True)
    return (grey_N1HW + (images_NCHW - grey_N1HW) * saturation).clamp(0.0, 1.0)


def _erased(images_NCHW: Tensor, draws_5N: Tensor, colour_NC: Tensor, often: float) -> Tensor:
    coin, area, aspect, y, x = draws_5N
    h_N, w_N = _sides(_between(*_ERASE_AREA, area), _between(-_ERASE_ASPECT, _ERASE_ASPECT, aspect))
    rows_NH = _inside((1.0 - h_N) * y + h_N / 2, h_N, images_NCHW.shape[2])
    columns_NW = _inside((1.0 - w_N) * x + w_N / 2, w_N, images_NCHW.shape[3])
    box_N1HW = (rows_NH[:, :, None] & columns_NW[:, None] & (coin < often)[:, None, None])[:, None]
    return torch.where(box_N1HW, colour_NC[:, :, None, None], images_NCHW)


def _centres(count: int, like: Tensor) -> Tensor:
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count


def _inside(centre_N: Tensor, side_N: Tensor, count: int) -> Tensor:
    """Which of `count` pixels lie within half a side of the centre, (N, count)."""
    return (_centres(count, centre_N) - centre_N[:, None]).abs() < side_N[:, None] / 2
