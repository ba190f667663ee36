"""A tracker chosen by name hears every number that is logged; a wrong or absent one is refused before anything else."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from embodkd.core import RunFolder
from embodkd.core.runs.tracker import TRACKERS

CONFIG = {"seed": 3, "task": {"name": "peg_hole", "size": [1, 2]}}


class Fake(ModuleType):
    """A package with the interface that wandb and trackio share, which writes down what it is told."""

    def __init__(self, name):
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.runs, self.told, self.finished = [], [], 0
        self.settings = {}
        self.config = self

    def init(self, **arguments):
        self.runs.append(arguments)
        return self

    def update(self, settings, **_):
        self.settings |= settings

    def log(self, numbers, step):
        self.told.append((step, numbers))

    def finish(self):
        self.finished += 1


@pytest.fixture(params=["trackio", "wandb"])
def fake(request, monkeypatch):
    module = Fake(request.param)
    monkeypatch.setitem(sys.modules, request.param, module)
    return module


def test_a_tracker_is_told_the_numbers_and_settings_of_a_run(fake, tmp_path):
    with RunFolder.open(tmp_path / "mine", CONFIG, tracker=fake.__name__) as run:
        assert not fake.runs, "started before there was anything to say"
        run.log(1, loss=0.5, note="words", share=float("nan"))
        run.log(2, share=None)
        run.log(7, loss=0.25, round=1)
        assert not fake.finished
    assert fake.runs == [{"project": "embodkd", "name": "mine"}] and fake.finished == 1
    assert fake.settings == {"seed": 3, "task.name": "peg_hole", "task.size": [1, 2]}
    assert fake.told == [(1, {"loss": 0.5}), (7, {"loss": 0.25, "round": 1})]
    assert [row["step"] for row in run.metrics()] == [1, 2, 7]
    assert list((tmp_path / "mine" / "tensorboard").glob("events*"))


def test_a_run_may_go_on_with_another_tracker_or_none(fake, tmp_path):
    with RunFolder.open(tmp_path / "mine", {**CONFIG, "tracker": fake.__name__}, tracker=fake.__name__) as run:
        run.log(1, loss=0.5)
        run.save_checkpoint(1, {}, {})
    with RunFolder.open(tmp_path / "mine", {**CONFIG, "tracker": None}, resume=True) as run:
        run.log(2, loss=0.25)
    with RunFolder.open(tmp_path / "mine", {**CONFIG, "tracker": fake.__name__}, True, fake.__name__) as run:
        run.log(3, loss=0.125)
    assert [step for step, _ in fake.told] == [1, 3] and len(fake.runs) == 2


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"tracker={name} .*embodkd\[trackers\]"):
        RunFolder.open(tmp_path / "mine", CONFIG, tracker=name)
    assert not list(tmp_path.iterdir())


def test_an_unknown_tracker_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"'wandbb': did you mean 'wandb'"):
        RunFolder.open(tmp_path / "mine", CONFIG, tracker="wandbb")
