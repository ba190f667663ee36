"""A private set of digits and an unlabelled pool as the web would give it: restyled, of other classes, junk.

The stand-in for KD^3 (arXiv:2307.11469): the private images are 0 to 5; whoever distils has the pool only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core import Splits, TensorData
from embodkd.core.config.ranges import Count, Seed, Severity
from embodkd.core.sources.splits import Items
from embodkd.data.corruptions import corrupt
from embodkd.data.digits import SOURCE, load_digits
from embodkd.data.partition import cut, stratified_order, take
from embodkd.data.registry import DATA

PRIVATE_CLASSES = 6
OTHERS, JUNK = 0.4, 0.2


@DATA.register("digits_web", title="private digits 0-5 and a mixed pool, 8 x 8", licence="CC BY 4.0")
def digits_web(
    *, seed: Seed = 0, train: Count = 300, validation: Count = 100, pool: Count = 950, style: Severity = 3
) -> Splits:
    """Splits with inputs (1, 8, 8) in [0, 1] and 6 classes.

    extra["pool"] has no labels but `origin`: 0 a restyled image of a private class (40 %, images of their own),
    1 another digit (40 %), 2 noise or an inverted digit (20 %). extra["style"] is the test restyled in the same way.
    style: severity 1..5 of the corruption "style".
    """
    images_N1HW, digit_N = load_digits()
    private_N = (digit_N < PRIVATE_CLASSES).numpy()
    own = stratified_order(digit_N.numpy(), seed)
    others, junk = round(OTHERS * pool), round(JUNK * pool)
    where = "data digits_web"
    sizes = {"validation": validation, "train": train, "pool": pool - others - junk}
    parts = cut(own[private_N[own]], sizes, where, rest="test")
    parts |= cut(own[~private_N[own]], {"others": others, "inverted": junk // 2}, where)
    ids = torch.arange(len(digit_N))
    fields = {"input": images_N1HW, "label": digit_N, "sample_id": ids}
    test = take(fields, parts["test"])
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand((junk - junk // 2, *images_N1HW.shape[1:]), generator=generator)
    groups: list[tuple[Tensor, Tensor]] = [
        (corrupt("style", images_N1HW[parts["pool"]], style, seed), ids[parts["pool"]]),
        (images_N1HW[parts["others"]], ids[parts["others"]]),
        (1.0 - images_N1HW[parts["inverted"]], ids[parts["inverted"]]),
        (noise, len(ids) + torch.arange(len(noise))),
    ]
    origin = torch.cat([torch.full((len(images),), min(k, 2)) for k, (images, _) in enumerate(groups)])
    images, sample_id = (torch.cat(part) for part in zip(*groups, strict=True))
    styled = dict(test.fields) | {
        "input": corrupt("style", test.fields["input"], style, seed + 1),
        "sample_id": test.fields["sample_id"] + len(ids) + len(noise),
    }
    rows = {part: ids[parts[part]] for part in ("train", "validation", "test")}
    drawn = torch.where(sample_id < len(ids), sample_id, -1)
    return Splits(
        train=take(fields, parts["train"]),
        validation=take(fields, parts["validation"]),
        test=test,
        classes=PRIVATE_CLASSES,
        shape=tuple(images_N1HW.shape[1:]),
        extra={
            "pool": TensorData({"input": images, "origin": origin, "sample_id": sample_id}),
            "style": TensorData(styled),
        },
        names=tuple(map(str, range(PRIVATE_CLASSES))),
        items=Items(SOURCE, {**rows, "pool": drawn, "style": rows["test"]}, pools=("pool",)),
    )
