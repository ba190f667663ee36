"""A bank: signals per sample, written by one pass or several and read row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import torch

from embodkd.core.banks.choice import Choice, Kept, SignalColumn, Values
from embodkd.core.banks.passes import SideBySide, answered, in_pieces, marks, place
from embodkd.core.banks.replay import PASS, AsSeen, Verified, verified
from embodkd.core.banks.store import Store, files_of, hold, opened, write
from embodkd.core.fingerprint import RowDigest
from embodkd.core.recipe import Answers, Context
from embodkd.core.runs.digests import check_digest
from embodkd.core.runs.files import atomic_folder, write_json
from embodkd.core.runs.reading import read_json
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source
from embodkd.core.transfer import on_host

FORMAT = 3
"""Of a stored bank. Until 2 only the first rows and the weights were noted; 2 had one pass, and no types of its own."""


class _Any(TypedDict, total=False):
    format: int


class _Stored(TypedDict):
    format: int
    fingerprint: dict[str, str]
    columns: list[SignalColumn]


class Bank:
    """Signals per sample, written by one pass or several and read row by row, each in the type that it came in.

    It is a step (put it into the recipe before the stage that needs it) and an answerer (`given={"t": bank}`). With a
    run folder it lies there as plain arrays that are written piece by piece and mapped, not loaded, so it may be larger
    than memory. Each pass has a folder, whole or absent: a fill that was killed goes on with the pass that it was in.

    answerer: one, or several by name; then the signal "logits" of the one called "a" is "a.logits", and a name without
    an answerer is meant of each.
    names: which signals to keep. top_k: of "logits", keep the softmax of this many largest as `probs` (N, K) and
    `index` (N, K) instead, see `sparse_cross_entropy`; they lie packed in one file of records, K numbers of `values`
    ("float32" is float64 of an answerer in double precision) and K of the smallest integer that holds the classes.
    lengths: for items of different length the batch field (N, T), or signal, that says which positions are valid; of
    all names, or by name. Only these positions are stored. They come back as the batch's own mask lays them out, or
    from the left, padded with zeros to the longest, and the mask with them.
    epoch: the pass whose augmentations are seen, for sources that augment. epochs: store that many passes, from `epoch`
    on; learn from `as_seen()`, whose batches say which of them they are. replay: the batch field with the seeds of the
    views (see `Seeded`); it is stored with the rows, and `as_seen()` gives it back.
    folder: keep it there and share it between runs. It lies there with digests of everything that its rows depend on:
    the answerer (of a role its weights, architecture, view, taps, output, temperature and mode; of any other what its
    `fingerprint()` says, or its fields), every row of the source in that pass, and what is kept of it. A bank that
    differs in any of them is refused (ValueError), never silently used.
    """

    fixed = True

    def __init__(
        self,
        answerer: Answers | Mapping[str, Answers],
        source: Source,
        *,
        names: Sequence[str] = ("logits",),
        top_k: int | None = None,
        values: Values = "float32",
        lengths: str | Mapping[str, str] | None = None,
        batch_size: int = 512,
        epoch: int = 0,
        epochs: int = 1,
        replay: str | None = None,
        folder: str | Path | None = None,
        name: str = "bank",
    ) -> None:
        if epochs < 1:
            raise ValueError(f"bank.epochs: must be at least 1, got {epochs}")
        self.answerer: Answers = SideBySide(answerer) if isinstance(answerer, Mapping) else answerer
        if isinstance(self.answerer, SideBySide):
            names = self.answerer.each(names)
            if isinstance(lengths, Mapping):
                lengths = {full: mask for short, mask in lengths.items() for full in self.answerer.each([short])}
        self.choice = Choice.of(names, top_k, values, lengths, replay)
        self.source, self.batch_size, self.name = source, batch_size, name
        self.epoch, self.epochs, self.passes = epoch, epochs, range(epoch, epoch + epochs)
        self._folder = None if folder is None else Path(folder)
        self._stores: dict[int, Store] = {}

    def __call__(self, context: Context) -> dict[str, float]:
        """Make the bank, or read of it what is there already."""
        folder = self._where(context)
        place(self.answerer, context.device)
        if folder is None:
            self._stores = {e: hold(self._kept(e, context.device), self.name) for e in self.passes}
        else:
            # Before the first answer: one that cannot be told from another is refused at once.
            whose = self._whose()
            self._check_others(folder, whose)
            self._stores = {}
            for e in self.passes:
                if (folder / f"pass_{e}").exists():
                    self._read(folder, e, whose)
                else:
                    self._write(folder, e, whose, context.device)
        return {f"{self.name}/rows": float(sum(map(len, self._stores.values())))}

    def restore(self, context: Context) -> None:
        """Read what an earlier call left in the run's folder."""
        folder = self._where(context)
        if folder is None:
            self(context)
        else:
            self.read(folder)

    def read(self, folder: str | Path) -> None:
        """Map the arrays in `folder`; ValueError if they are of another teacher, other data or another choice."""
        whose, self._stores = self._whose(), {}
        self._check_others(Path(folder), whose)
        for e in self.passes:
            self._read(Path(folder), e, whose)

    def signals(self, batch: Signals) -> Signals:
        """The rows of the batch's samples, on its device; ValueError for a sample that the bank does not hold."""
        ids = batch["sample_id"]
        masks = {m: on_host(batch[m]).bool() for m in set(self.choice.lengths.values()) if m in batch}
        return self.store(batch).signals(on_host(ids).numpy(), masks).to(ids.device)

    def store(self, batch: Signals) -> Store:
        """The rows of the pass that the batch says; ValueError if it says none and there are several."""
        passes = [self.epoch] if self.epochs == 1 else on_host(batch[PASS]).unique().tolist() if PASS in batch else []
        if len(passes) != 1 or passes[0] not in self._stores:
            held = f"the passes {', '.join(map(str, self._stores))}" if self._stores else "nothing yet"
            raise ValueError(
                f"{self.name} holds {held}, and this batch is of {passes or 'an unknown one'}; it must come before "
                "what learns from it, and with several passes these learn from its as_seen()"
            )
        return self._stores[passes[0]]

    def fingerprint(self) -> dict[str, str]:
        """Digests of everything that the rows depend on, by name; ValueError for an answerer without one."""
        whose = self._whose()
        data = {e: {"data": self._data(e), "pass": str(e)} for e in self.passes}
        if self.epochs == 1:
            return {**whose, **data[self.epoch]}
        return {**whose, **{f"{what} {e}": mark for e, found in data.items() for what, mark in found.items()}}

    def as_seen(self, *, other_views: bool = False) -> AsSeen:
        """The source as the answerer saw it: pass p over it shows the views of stored pass p modulo `epochs`.

        other_views: those of passes that were not stored instead, beside the same answers: what the replay is worth.
        """
        return AsSeen(self, other_views)

    def verify(self, share: float = 1.0, device: torch.device | str = "cpu") -> Verified:
        """Ask the answerer again about a `share` (0, 1] of the rows of each pass, under rebuilt views, and compare."""
        return verified(self, share, device)

    def _kept(self, e: int, device: torch.device | str, seen: RowDigest | None = None) -> Iterator[Kept]:
        """One pass, in pieces that go at once to where they are kept."""
        for rows in in_pieces(self.source, self.batch_size, e):
            if seen is not None:
                seen.add(rows)
            yield self.choice(answered(self.answerer, rows, device))

    def _write(self, folder: Path, e: int, whose: Mapping[str, str], device: torch.device) -> None:
        seen = self._row_digest()
        with atomic_folder(folder / f"pass_{e}") as aside:
            columns = write(self._kept(e, device, seen), aside)
            facts = {"fingerprint": {**whose, "data": seen.hex(), "pass": str(e)}, "columns": [*map(asdict, columns)]}
            write_json(aside / "bank.json", {"format": FORMAT, **facts})
        self._stores[e] = opened(folder / f"pass_{e}", columns, self.name, next(iter(self._stores.values()), None))

    def _read(self, folder: Path, e: int, whose: Mapping[str, str]) -> None:
        here = folder / f"pass_{e}"
        facts = _facts(here, folder)
        _compare(folder, facts["fingerprint"], {**whose, "data": self._data(e), "pass": str(e)})
        for name in files_of(facts["columns"]):
            check_digest(here / f"{name}.npy")
        self._stores[e] = opened(here, facts["columns"], self.name, next(iter(self._stores.values()), None))

    def _check_others(self, folder: Path, whose: Mapping[str, str]) -> None:
        """ValueError if `folder` holds a bank of an earlier version, or passes of another answerer or choice."""
        if (folder / "bank.json").exists():
            _facts(folder, folder)
        for other in sorted(folder.glob("pass_*")):
            if other.name not in {f"pass_{e}" for e in self.passes}:
                stored = _facts(other, folder)["fingerprint"]
                _compare(folder, {n: m for n, m in stored.items() if n not in ("data", "pass")}, whose)

    def _whose(self) -> dict[str, str]:
        return {**marks(self.answerer, self.name), "choice": self.choice.mark()}

    def _data(self, e: int) -> str:
        rows = self._row_digest()
        for piece in in_pieces(self.source, self.batch_size, e):
            rows.add(piece)
        return rows.hex()

    def _row_digest(self) -> RowDigest:
        return RowDigest(sorted(set(self.choice.lengths.values())))

    def _where(self, context: Context) -> Path | None:
        if self._folder is not None:
            return self._folder
        return None if context.folder is None else context.folder / "banks" / self.name


def _facts(here: Path, folder: Path) -> _Stored:
    version = read_json(here / "bank.json", _Any).get("format", 0)
    if version != FORMAT:
        raise ValueError(
            f"the bank in {folder} is of {'a later' if version > FORMAT else 'an earlier'} version, "
            "which noted other facts about what its rows depend on; remove that folder to make it anew, or give "
            "this bank another one"
        )
    found: _Stored = read_json(here / "bank.json", _Stored)
    return found


def _compare(folder: Path, stored: Mapping[str, str], own: Mapping[str, str]) -> None:
    wrong = [part for part in {**own, **stored} if stored.get(part) != own.get(part)]
    if wrong:
        raise ValueError(
            f"the bank in {folder} was made with another {' and another '.join(wrong)}; "
            "remove that folder to make it anew, or give this bank another one"
        )
