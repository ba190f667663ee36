"""A small table that a test may change, and what is trained to fill it."""

import copy
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`table(change)` writes the table, changed by a function, and fills it; `table.file` is its file."""
    monkeypatch.chdir(tmp_path)

    def fill(change=lambda content: None, **options):
        from small_table import TABLE

        from embodkd.evaluation import reproduce as tables

        content = copy.deepcopy(TABLE)
        change(content)
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return tables.reproduce(tmp_path / "toy.yaml", quiet=True, **options)

    return fill


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that are trained from now on, `arms/kd/0`; an entry `stop` in it interrupts the next one."""
    from embodkd.core import Trainer

    cells: list[str] = []
    fit = Trainer.fit

    def noted(self, recipe):
        if "stop" in cells:
            raise KeyboardInterrupt
        kind, name = self.run.path.parts[-2:]
        cells.append(f"{kind}/{name}/{self.run.path.parts[-3].removeprefix('seed_')}")
        return fit(self, recipe)

    monkeypatch.setattr(Trainer, "fit", noted)
    return cells
