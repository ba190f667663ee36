"""Training images that are cropped and mirrored anew in every pass, as small pictures usually are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Signals, TensorData, item_seeds
from embodkd.data.corruptions import cropped

_BITS = 20  # of an item's number for each draw: its remainder by a few pixels is even enough


class CroppedData(TensorData):
    """A data set whose images `input` (N, C, H, W) get `crop` black pixels on every side, are cut out again at a
    uniform place, and with `flip` are mirrored left to right half of the time.

    What becomes of an image is a function of (seed, pass, sample id): the same in any batch, order and process, and
    for every model that looks. Pass 0 shows the images as they are, so all that is measured or collected outside of
    training sees them so.
    """

    def __init__(self, fields: Mapping[str, Tensor], *, crop: int = 0, flip: bool = False, seed: int = 0) -> None:
        super().__init__(fields)
        if crop < 0:
            raise ValueError(f"crop: a number of pixels >= 0, got {crop}")
        self.crop, self.flip, self.seed = crop, flip, seed

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The rows at `index`, their images as pass number `epoch` shows them."""
        batch = super().gather(index, epoch)
        if epoch == 0:
            return batch
        drawn_N = item_seeds(self.seed, epoch, batch["sample_id"].numpy())
        y_N, x_N, coin_N = (torch.from_numpy((drawn_N >> (_BITS * k)) % 2**_BITS) for k in range(3))
        places = 2 * self.crop + 1
        images_NCHW = cropped(batch["input"], self.crop, y_N % places, x_N % places)
        if self.flip:
            images_NCHW = torch.where((coin_N % 2 == 1)[:, None, None, None], images_NCHW.flip(3), images_NCHW)
        return batch.merge(input=images_NCHW)
