"""What made a model: the names of its classes in their order, its tokenizer, which items it and its teachers saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from embodkd.core.sources.dataset import DataSet

USES = ("train", "validation")


@dataclass(frozen=True)
class Provenance:
    """A model carries it as `provenance`; its folder keeps it.

    classes: their names in the order of the logits, None if the data have none. items: use -> source -> int64 (N,),
    sorted, see `Items`; uses are train (pools included), validation, test, and teacher_train and teacher_validation of
    everybody that taught it or its teachers. silent: it, or one of those, does not say what it learned from. spelling:
    tokenizer.json of the texts that it reads, None of other data.
    """

    classes: tuple[str, ...] | None = None
    items: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    silent: bool = False
    spelling: str | None = None

    @classmethod
    def of(cls, data: DataSet, teachers: Iterable[nn.Module] = ()) -> Provenance:
        """Of a model that learned from `data` and from these teachers."""
        before = [getattr(teacher, "provenance", None) or cls(silent=True) for teacher in teachers]
        uses = {
            f"teacher_{use}": _union(p.items.get(name, {}) for p in before for name in (use, f"teacher_{use}"))
            for use in USES
        }
        silent = data.items is None or any(p.silent for p in before)
        spelling = None if data.spelling is None else data.spelling.to_json()
        return cls(data.names, {**_uses(data), **uses}, silent, spelling)

    def seen(self, data: DataSet, part: str) -> dict[str, int]:
        """How many rows of this part each use but test has; empty if the data do not tell their items apart."""
        if data.items is None:
            return {}
        asked, source = data.items.rows[part], data.items.source
        uses = {use: self.items.get(use, {}).get(source) for use in (*USES, *(f"teacher_{use}" for use in USES))}
        return {use: int(torch.isin(asked, ids).sum()) for use, ids in uses.items() if ids is not None}

    def beware(self, data: DataSet, part: str = "test") -> tuple[str, ...]:
        """Sentences that belong beside a figure measured on this part; none if nothing that is judged was seen."""
        total, seen = data.part(part).size(), self.seen(data, part)
        said = []
        for who, prefix in (("it", ""), ("its teachers", "teacher_")):
            counts = {use: seen.get(f"{prefix}{use}", 0) for use in USES}
            if any(counts.values()):
                where = ", ".join(f"{count:,} in {use}" for use, count in counts.items() if count)
                said.append(f"of these {total:,} items {who} saw {where}")
        if self.silent and data.items is not None:
            said.append("whether it or its teachers saw these items in training is not known")
        return tuple(said)


def _uses(data: DataSet) -> dict[str, dict[str, Tensor]]:
    if data.items is None:
        return {}
    source, rows = data.items.source, data.items.rows
    learned = torch.cat([rows[name] for name in ("train", *data.items.pools)])
    uses = {"train": learned, "validation": rows["validation"], "test": rows["test"]}
    return {use: {source: _known(ids)} for use, ids in uses.items()}


def _union(many: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for items in many:
        for source, ids in items.items():
            found[source] = _known(torch.cat([found[source], ids]) if source in found else ids)
    return found


def _known(ids: Tensor) -> Tensor:
    """Sorted and each once, without those that were made up."""
    return ids[ids >= 0].unique()
