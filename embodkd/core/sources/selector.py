"""A source that shows a part of another one, chosen anew at each refill: queries, thresholds, curricula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from embodkd.core.runs.files import atomic_folder, read_tensors, write_tensors
from embodkd.core.signals import Signals
from embodkd.core.sources.kept import remove_outdated
from embodkd.core.sources.source import Refresh, Source


class Selected(Source):
    """The items of `source` at the places that `choose(refill)` names, an int64 array without repetition.

    Sample ids stay those of `source`, so banks and per-item weights go on to fit. `size_after(refill)` is how many
    items there will be, where that is known; otherwise the stage needs `updates_per_round`, since schedules must know
    the number of updates in advance. The chosen places are kept with the checkpoints.
    """

    def __init__(
        self,
        source: Source,
        choose: Callable[[int], np.ndarray],
        *,
        size_after: Callable[[int], int] | None = None,
        refresh: Refresh = "epoch",
    ) -> None:
        self.source, self.refresh = source, refresh
        self._choose, self._size_after = choose, size_after
        self.places = np.arange(source.size())
        self._refill = -1

    def size(self) -> int:
        """How many items are chosen now."""
        return len(self.places)

    def planned_size(self, refill: int) -> int:
        """What `size_after` says; ValueError without it."""
        if self._size_after is None:
            raise ValueError(
                "how many items will be selected is not known in advance: give the stage updates_per_round"
            )
        return self._size_after(refill)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The chosen items at `index`."""
        return self.source.gather(self.places[index], epoch)

    def refill(self, refill: int) -> dict[str, float]:
        """Choose again; ValueError if nothing is chosen or a place does not exist."""
        places = np.asarray(self._choose(refill), dtype=np.int64)
        size = self.source.size()
        if len(places) == 0:
            raise ValueError(f"the selector chose none of {size} items at refill {refill}; loosen its threshold")
        if places.min() < 0 or places.max() >= size or len(np.unique(places)) != len(places):
            raise ValueError(f"the selector must choose distinct places in 0..{size - 1}")
        self.places, self._refill = places, refill
        return {"selected/share": len(places) / size}

    def save(self, folder: Path) -> None:
        """Write the places chosen last."""
        path = _places_of(folder, self._refill)
        if self._refill >= 0 and not path.exists():
            with atomic_folder(path) as aside:
                write_tensors(aside / "places.safetensors", {"places": self.places})

    def tidy(self, folder: Path) -> None:
        """Remove choices that no checkpoint needs."""
        remove_outdated(folder, "selected", [self._refill] if self._refill >= 0 else [])

    def restore(self, folder: Path, refills: int) -> None:
        """Read the places chosen last."""
        self._refill = refills - 1
        if refills:
            self.places = np.asarray(read_tensors(_places_of(folder, self._refill) / "places.safetensors")["places"])


def _places_of(folder: Path, refill: int) -> Path:
    return folder / f"selected_{refill}"


def adaptive_thresholds(answer_N: np.ndarray, classes: int, cutoff: float) -> np.ndarray:
    """A confidence threshold per class that is lower the more rarely the class is answered, (C,).

    b_c = count of c / largest count; threshold_c = cutoff * b_c / (2 - b_c): `cutoff` for the most frequent answer, 0
    for one that never occurs. Source: Zhang et al., NeurIPS 2021 (FlexMatch, arXiv:2110.08263), eq. 7 and 11.
    """
    count_C = np.bincount(answer_N, minlength=classes)
    relative_C = count_C / max(1, count_C.max())
    return cutoff * relative_C / (2.0 - relative_C)
