"""Without torchdistill the comparison says which environment it needs."""

import sys

import pytest

from benchmarks import peers
from benchmarks.loop import Work


def test_a_missing_torchdistill_names_its_environment(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdistill.core.distillation", None)
    work = Work(updates=1, batch=4, side=8, classes=5, model="resnet20", repeats=1)
    with pytest.raises(ValueError, match="pip install torchdistill"):
        peers.by_torchdistill(work, peers.images(work), peers.network(work, 1))
