"""Who is told the logged numbers beside metrics.jsonl: TensorBoard always, one more by name, through accelerate."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from embodkd.core.config.registry import near

PROJECT = "embodkd"
# tracker -> what it calls the name of one run
TRACKERS = {"mlflow": "run_name", "trackio": "name", "wandb": "name"}


def check_tracker(name: str | None) -> None:
    """ValueError if there is no tracker `name`, ImportError with the extra to install if it is not there."""
    if name is None:
        return
    if name not in TRACKERS:
        raise ValueError(f"tracker: unknown tracker {name!r}: {near(name, TRACKERS)}; or null for none")
    try:
        import_module(name)
    except ImportError as error:
        raise ImportError(
            f"tracker={name} needs {error.name}: pip install 'embodkd[trackers]', or only {name}; tracker=null for none"
        ) from error


class Trackers:
    """TensorBoard in the run folder `path`, and the tracker `name` if that is not None.

    The latter gets a run called as the folder in its project `embodkd`, with `config` (flat) as settings. To be made
    after the process has made its accelerator, if it makes one; otherwise accelerate is set to the CPU.
    """

    def __init__(self, path: Path, name: str | None, config: Mapping[str, Any], purge_step: int | None) -> None:
        self._board = _board(path / "tensorboard", purge_step)
        self._other = None if name is None else _started(name, path.name, config)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Tell all of them `numbers` at `step`."""
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)
        if self._other is not None and numbers:
            self._other.log(dict(numbers), step=step)

    def close(self) -> None:
        """Flush."""
        self._board.close()
        if self._other is not None:
            self._other.finish()


class _NoBoard:
    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Nothing to draw on: the absence was warned about once, metrics.jsonl has the numbers."""

    def close(self) -> None:
        """Nothing to close."""


def _board(folder: Path, purge_step: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        advice = "tensorboard is not installed: curves are in metrics.jsonl only; pip install tensorboard"
        warnings.warn(advice, stacklevel=4)
        return _NoBoard()
    return SummaryWriter(str(folder), purge_step=purge_step)


def _started(name: str, run: str, config: Mapping[str, Any]) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState(cpu=True)  # accelerate's trackers ask it which process they are in; one that exists stays
    tracker = LOGGER_TYPE_TO_CLASS[name](PROJECT, **{TRACKERS[name]: run})
    tracker.start()
    tracker.store_init_configuration(dict(config))
    return tracker
