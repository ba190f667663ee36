"""Without torchdistill the comparison says which environment it needs."""

import sys

import pytest

from benchmarks import peers


def test_a_missing_torchdistill_names_its_environment_before_anything_is_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdistill.core.distillation", None)
    monkeypatch.setattr(peers, "take_turns", lambda *_: pytest.fail("measured"))
    with pytest.raises(ValueError, match="pip install torchdistill"):
        peers.lines()
