"""Tables: rows per class, or per another key, computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from embodkd.core.config.registry import near
from embodkd.core.fingerprint import digest
from embodkd.core.recipe import Context
from embodkd.core.runs.files import atomic_folder, read_tensors, write_tensors
from embodkd.core.signals import Signals
from embodkd.core.transfer import sent


class Table:
    """Tensors with one row per key (per class, unless `by` says otherwise), computed once by `make`.

    It is a step and an answerer like Bank, for what is small: class means, directions, prototypes. `table["name"]` is a
    whole tensor; as an answerer it gives each item the row of its key.
    """

    fixed = True

    def __init__(
        self, make: Callable[[Context], Mapping[str, Tensor]], *, by: str = "label", name: str = "table"
    ) -> None:
        self._make, self._by, self._name = make, by, name
        self._rows: dict[str, Tensor] = {}

    def __call__(self, context: Context) -> dict[str, float]:
        """Compute the tensors and keep them in the run's folder."""
        self._rows = {name: value.detach() for name, value in self._make(context).items()}
        folder = self._where(context)
        if folder is not None:
            with atomic_folder(folder) as aside:
                write_tensors(aside / "table.safetensors", {n: v.cpu().contiguous() for n, v in self._rows.items()})
        return {f"{self._name}/rows": float(len(next(iter(self._rows.values()))))}

    def restore(self, context: Context) -> None:
        """Read what an earlier call left in the run's folder, or compute it again where there is none."""
        folder = self._where(context)
        if folder is None:
            self(context)
        else:
            tensors = read_tensors(folder / "table.safetensors")
            self._rows = {n: torch.as_tensor(v).to(context.device) for n, v in tensors.items()}

    def __getitem__(self, name: str) -> Tensor:
        """The whole tensor `name`, one row per key."""
        if name not in self._rows:
            raise ValueError(f"{self._name} has no {name!r}: {near(name, self._rows)}")
        return self._rows[name]

    def fingerprint(self) -> dict[str, str]:
        """Digests of its rows and of what they are looked up by; ValueError before it is computed."""
        if not self._rows:
            raise ValueError(f"{self._name} is empty: what answers by it must come after it in the recipe")
        return {"rows": digest({n: v.cpu() for n, v in self._rows.items()}), "by": self._by}

    def signals(self, batch: Signals) -> Signals:
        """Each item's row."""
        key = batch[self._by]
        self._rows = {name: sent(rows, key.device) for name, rows in self._rows.items()}
        return Signals({name: rows[key] for name, rows in self._rows.items()})

    def _where(self, context: Context) -> Path | None:
        return None if context.folder is None else context.folder / "banks" / self._name


def class_means(values_ND: Tensor, label_N: Tensor, classes: int) -> Tensor:
    """Mean of the rows of each class, (C, D); ValueError for a class without any item."""
    counts_C = torch.bincount(label_N, minlength=classes)
    if (counts_C == 0).any():
        empty = torch.nonzero(counts_C == 0).flatten().tolist()
        raise ValueError(f"class means: no item of the classes {empty[:10]}")
    sums_CD = values_ND.new_zeros(classes, values_ND.shape[1]).index_add_(0, label_N, values_ND)
    return sums_CD / counts_C[:, None]
