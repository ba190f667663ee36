"""Banks: what one pass of a model over the data leaves behind. They answer like a role, so terms cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from embodkd.core.config.registry import near
from embodkd.core.fingerprint import RowDigest, digest
from embodkd.core.precision import wide_type
from embodkd.core.recipe import Answers, Context
from embodkd.core.role import Role
from embodkd.core.runs.digests import check_digest, write_digest
from embodkd.core.runs.files import atomic_folder, read_tensors, write_json, write_tensors
from embodkd.core.runs.reading import read_json
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source
from embodkd.core.terms.base import precise

FORMAT = 2
"""Of a stored bank. Until 2 only the first rows and the weights were noted."""


class _Any(TypedDict, total=False):
    format: int


class _Stored(TypedDict):
    format: int
    fingerprint: dict[str, str]
    columns: list[str]


@torch.no_grad()
def collect(
    answerer: Answers, source: Source, *, batch_size: int = 512, device: torch.device | str = "cpu", epoch: int = 0
) -> Signals:
    """The batch fields and signals of all items of `source`, in order, on the CPU; signals win where names agree."""
    pieces = list(_passes(answerer, source, batch_size, device, epoch))
    return Signals({name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]})


def _passes(
    answerer: Answers,
    source: Source,
    batch_size: int,
    device: torch.device | str,
    epoch: int,
    seen: RowDigest | None = None,
) -> Iterator[Signals]:
    _place(answerer, device)
    # a model that was trained in double precision asks for it afterwards too
    wide = isinstance(answerer, Role) and any(p.dtype is torch.float64 for p in answerer.model.parameters())
    for rows in _rows(source, batch_size, epoch):
        if seen is not None:
            seen.add(rows)
        batch = rows.to(device)
        if wide:
            batch = batch.map(lambda value: value.double() if value.is_floating_point() else value)
        signals = answerer.signals(batch)
        yield batch.merge(**dict(signals)).map(lambda value: value.detach().cpu())


def _rows(source: Source, batch_size: int, epoch: int) -> Iterator[Signals]:
    """All items of `source`, in order and in pieces."""
    for start in range(0, source.size(), batch_size):
        yield source.gather(np.arange(start, min(start + batch_size, source.size())), epoch)


def _place(answerer: Answers, device: torch.device | str) -> None:
    if isinstance(answerer, Role):
        answerer.model.to(device=device, dtype=wide_type())


class Bank:
    """Signals per sample, written by one pass and read row by row.

    It is a step (put it into the recipe before the stage that needs it) and an answerer (`given={"t": bank}`). With a
    run folder it lies there as plain arrays that are mapped, not loaded, so it may be larger than memory.

    names: which signals to keep. top_k: of "logits", keep the softmax of this many largest as `probs` (N, K) and
    `index` (N, K) instead. epoch: the pass whose augmentations are seen, for sources that augment.
    folder: keep it there and share it between runs. It lies there with digests of everything that its rows depend on:
    the answerer (of a role its weights, architecture, view, taps, output, temperature and mode; of any other what its
    `fingerprint()` says, or its fields), every row of the source in that pass, and what is kept of it. A bank that
    differs in any of them is refused (ValueError), never silently used.
    """

    fixed = True

    def __init__(
        self,
        answerer: Answers,
        source: Source,
        *,
        names: Sequence[str] = ("logits",),
        top_k: int | None = None,
        batch_size: int = 512,
        epoch: int = 0,
        folder: str | Path | None = None,
        name: str = "bank",
    ) -> None:
        if top_k is not None and "logits" not in names:
            raise ValueError("bank.top_k keeps the largest logits, so names must contain 'logits'")
        self.answerer, self.source, self.names, self.top_k = answerer, source, tuple(names), top_k
        self.batch_size, self.epoch, self.name = batch_size, epoch, name
        self._folder = None if folder is None else Path(folder)
        self._columns: dict[str, np.ndarray] = {}
        self._row_of = np.empty(0, np.int64)

    def __call__(self, context: Context) -> dict[str, float]:
        """Make the bank, or read it if it is there already."""
        folder = self._where(context)
        _place(self.answerer, context.device)
        if folder is not None and folder.exists():
            self.read(folder)
            return {f"{self.name}/rows": float(len(self._row_of))}
        if folder is None:
            self._take(self._fill(context, lambda name, dtype, shape: np.empty(shape, dtype)))
        else:
            # Before the first answer: one that cannot be told from another is refused at once.
            answerer, seen = self._answerer_marks(), RowDigest()
            with atomic_folder(folder) as aside:
                columns = self._fill(
                    context,
                    lambda name, dtype, shape: np.lib.format.open_memmap(aside / f"{name}.npy", "w+", dtype, shape),
                    seen,
                )
                marks = {**answerer, "data": seen.hex(), **self._choice()}
                write_json(aside / "bank.json", {"format": FORMAT, "fingerprint": marks, "columns": sorted(columns)})
                for name in sorted(columns):
                    write_digest(aside / f"{name}.npy")
            self._map(folder, sorted(columns))
        return {f"{self.name}/rows": float(len(self._row_of))}

    def restore(self, context: Context) -> None:
        """Read what an earlier call left in the run's folder."""
        folder = self._where(context)
        if folder is None:
            self(context)
        else:
            self.read(folder)

    def read(self, folder: str | Path) -> None:
        """Map the arrays in `folder`; ValueError if they are of another teacher, other data or another pass."""
        folder = Path(folder)
        version = read_json(folder / "bank.json", _Any).get("format", 0)
        if version != FORMAT:
            raise ValueError(
                f"the bank in {folder} is of {'a later' if version > FORMAT else 'an earlier'} version, "
                "which noted other facts about what its rows depend on; remove that folder to make it anew, or give "
                "this bank another one"
            )
        facts = read_json(folder / "bank.json", _Stored)
        own, stored = self.fingerprint(), facts["fingerprint"]
        wrong = [part for part in {**own, **stored} if stored.get(part) != own.get(part)]
        if wrong:
            raise ValueError(
                f"the bank in {folder} was made with another {' and another '.join(wrong)}; "
                "remove that folder to make it anew, or give this bank another one"
            )
        for name in facts["columns"]:
            check_digest(folder / f"{name}.npy")
        self._map(folder, facts["columns"])

    def fingerprint(self) -> dict[str, str]:
        """Digests of everything that the rows depend on, by name; ValueError for an answerer without one."""
        rows = RowDigest()
        for piece in _rows(self.source, self.batch_size, self.epoch):
            rows.add(piece)
        return {**self._answerer_marks(), "data": rows.hex(), **self._choice()}

    def _answerer_marks(self) -> dict[str, str]:
        if isinstance(self.answerer, Role):
            return {f"teacher's {name}": mark for name, mark in self.answerer.fingerprint().items()}
        return {"answerer": digest(self.answerer, f"{self.name}: its answerer, a {type(self.answerer).__name__}")}

    def _choice(self) -> dict[str, str]:
        return {"choice": f"{','.join(self.names)} top_k={self.top_k}", "pass": str(self.epoch)}

    def signals(self, batch: Signals) -> Signals:
        """The rows of the batch's samples, on its device; ValueError for a sample that the bank does not hold."""
        wanted = batch["sample_id"]
        ids = wanted.cpu().numpy()
        known = (ids >= 0) & (ids < len(self._row_of))
        rows = (
            np.where(known, self._row_of[np.where(known, ids, 0)], -1) if len(self._row_of) else np.full(len(ids), -1)
        )
        if (rows < 0).any():
            missing = ids[rows < 0][:5].tolist()
            raise ValueError(f"{self.name} holds nothing for the samples {missing}; was it filled from this data?")
        return Signals({c: torch.from_numpy(np.asarray(v[rows])).to(wanted.device) for c, v in self._columns.items()})

    def _fill(
        self, context: Context, make: Callable[[str, Any, tuple[int, ...]], np.ndarray], seen: RowDigest | None = None
    ) -> dict[str, np.ndarray]:
        """One pass, written into arrays that `make(name, dtype, shape)` gives: on disk they never lie in memory."""
        columns: dict[str, np.ndarray] = {}
        done = 0
        with torch.no_grad():
            for piece in _passes(self.answerer, self.source, self.batch_size, context.device, self.epoch, seen):
                for name, value in self._kept(piece).items():
                    rows = value.numpy()
                    if name not in columns:
                        columns[name] = make(name, rows.dtype, (self.source.size(), *rows.shape[1:]))
                    columns[name][done : done + len(rows)] = rows
                done += piece.items_count
        return columns

    def _kept(self, piece: Signals) -> dict[str, Tensor]:
        columns = {"sample_id": piece["sample_id"], **{name: piece[name] for name in self.names}}
        if self.top_k is not None:
            logits_NC = precise(columns.pop("logits"))
            columns["probs"], columns["index"] = logits_NC.softmax(-1).topk(min(self.top_k, logits_NC.shape[-1]))
        return {name: value.float() if value.dtype == torch.bfloat16 else value for name, value in columns.items()}

    def _map(self, folder: Path, columns: Sequence[str]) -> None:
        held: dict[str, np.ndarray] = {}
        for column in columns:
            try:
                held[column] = np.lib.format.open_memmap(folder / f"{column}.npy", "r")
            except (ValueError, OSError) as error:
                raise ValueError(
                    f"{folder / column}.npy: no array ({error}); remove {folder} to make it anew"
                ) from error
        self._take(held)

    def _take(self, columns: dict[str, np.ndarray]) -> None:
        ids = np.asarray(columns.pop("sample_id"))
        if len(np.unique(ids)) != len(ids):
            raise ValueError(f"{self.name}: sample ids repeat in its source; a bank needs one row per sample")
        self._row_of = np.full(int(ids.max()) + 1, -1, np.int64)
        self._row_of[ids] = np.arange(len(ids))
        self._columns = columns

    def _where(self, context: Context) -> Path | None:
        if self._folder is not None:
            return self._folder
        return None if context.folder is None else context.folder / "banks" / self.name


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
        return Signals({name: rows.to(key.device)[key] for name, rows in self._rows.items()})

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
