"""Two sources as one: in the order that is asked for, with what each side makes of its images, labels of one hidden."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Signals, TensorData
from embodkd.parts.active.joined import Joined


class Moving(TensorData):
    """Images that differ from pass to pass."""

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        batch = super().gather(index, epoch)
        return batch.merge(input=batch["input"] + 100 * epoch)


def sides() -> tuple[TensorData, TensorData]:
    labelled = Moving({"input": torch.arange(5.0), "label": torch.arange(5) % 2, "sample_id": torch.arange(5) + 30})
    pool = Moving({"input": 5 + torch.arange(4.0), "label": torch.ones(4).long(), "sample_id": torch.arange(4)})
    return labelled, pool


@given(st.lists(st.integers(0, 8), min_size=1, max_size=12), st.integers(0, 3))
def test_items_come_in_the_order_asked_for_as_each_side_gives_them(places: list[int], epoch: int) -> None:
    joined = Joined(*sides())
    found = joined.gather(np.array(places), epoch)
    assert found["input"].tolist() == [k + 100 * epoch for k in places] and joined.size() == 9
    assert found["label"].tolist() == [k % 2 if k < 5 else -1 for k in places]
    assert found["sample_id"].tolist() == [k + 30 if k < 5 else k - 5 for k in places]
