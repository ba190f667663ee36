"""A few labelled emoji, and a pool without labels as the web would give it: further emoji and crops of photographs.

The stand-in for pre-training by distillation (TinyViT, arXiv:2207.10666): many images that a large teacher has an
opinion of, few that anybody has labelled.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from embodkd.core import Splits, TensorData
from embodkd.core.config.ranges import Count, Seed, Whole
from embodkd.core.sources.splits import Items
from embodkd.data.emoji import LICENCES, emoji
from embodkd.data.partition import cut, stratified_order, take
from embodkd.data.photos import photos
from embodkd.data.registry import DATA


@DATA.register(
    "emoji_web",
    title="few labelled emoji, and a pool of emoji and crops of photographs",
    licence=f"{LICENCES}; photographs BSD-3",
    asset="emoji",
    module="skimage",
)
def emoji_web(
    *, seed: Seed = 0, size: Literal[16, 32, 64] = 64, train: Count = 300, pool: Count = 1500, crops: Whole = 500
) -> Splits:
    """Splits with inputs (3, size, size) in [0, 1] and 9 classes; validation and test are those of `emoji`.

    train: labelled pictures. extra["pool"] has no labels but `origin`: 0 one of `pool` further emoji of the training
    part, 1 one of `crops` crops of photographs.
    """
    whole = emoji(seed=seed, size=size)
    fields = whole.train.fields
    order = stratified_order(fields["label"].numpy(), seed)
    parts = {name: np.sort(rows) for name, rows in cut(order, {"train": train, "pool": pool}, "data emoji_web").items()}
    assert whole.items is not None, "emoji says which pictures it drew"
    rows = {name: whole.items.rows["train"][torch.from_numpy(part)] for name, part in parts.items()}
    images, first = fields["input"][torch.from_numpy(parts["pool"])], 1 + int(whole.items.rows["train"].max())
    ids = fields["sample_id"][torch.from_numpy(parts["pool"])]
    for part in ("validation", "test"):
        rows[part] = whole.items.rows[part]
        first = max(first, 1 + int(rows[part].max()))
    if crops:
        from_photos = photos(seed=seed, size=size, train=crops, validation=1, test=1).train.fields["input"]
        images, ids = torch.cat([images, from_photos]), torch.cat([ids, first + torch.arange(crops)])
        # no number of an emoji: photographs are another source
        rows["pool"] = torch.cat([rows["pool"], torch.full((crops,), -1)])
    origin = (torch.arange(len(images)) >= pool).long()
    return Splits(
        train=take(fields, parts["train"]),
        validation=whole.validation,
        test=whole.test,
        classes=whole.classes,
        shape=whole.shape,
        extra={"pool": TensorData({"input": images, "origin": origin, "sample_id": ids})},
        names=whole.names,
        items=Items(whole.items.source, rows, pools=("pool",)),
    )
