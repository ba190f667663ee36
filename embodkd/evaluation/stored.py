"""What stored tables hold, as far as anything here reads it: results/SLUG.json of a method, and of a whole system."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypedDict

from embodkd.core.config.ranges import Count, NotNegative, Share, Whole
from embodkd.core.runs.reading import MEND, read_json


class _Trained(TypedDict):
    mean: float | None
    ci95: tuple[float, float] | None


class _Teacher(_Trained, total=False):
    parameters: list[Count]
    beware: list[str]
    method: dict[str, Any] | None


class _Arm(_Teacher):
    role: str


class _Comparison(TypedDict):
    arm: str
    against: str
    mean: float
    ci95: tuple[float, float] | None
    verdict: Literal["gain", "loss", "no_gain", "undecided"]


class _Claim(TypedDict):
    claim: str
    passed: bool


class _Check(_Claim, total=False):
    outcome: Literal["holds", "fails", "undecided"]


class _Result(TypedDict):
    slug: str
    title: str
    metric: str
    margin: float
    seeds: list[int]
    arms: dict[str, _Arm]
    teachers: dict[str, _Teacher]
    comparisons: list[_Comparison]
    checks: list[_Check]


class StoredResult(_Result, total=False):
    """A method's table."""

    config: dict[str, Any]
    sources: str
    minutes: NotNegative


class Spoilt(TypedDict):
    """How a policy does with one of its sensors spoilt."""

    group: str
    way: str
    success_rate: Share
    verdict: str


class _Ablation(TypedDict):
    rows: list[Spoilt]


class Correction(TypedDict):
    """How far a residual moves its base in one phase, as corrections.json has it."""

    mm: NotNegative
    degrees: NotNegative
    share: Share


class _Row(TypedDict):
    cell: str
    setting: list[str]
    command: str
    success_rate: Share
    successes: Whole
    episodes: Count


class StoredRow(_Row, total=False):
    """One cell of a system's table; beside these it says what its setting names."""

    seed: Any
    failures: dict[str, Count]
    commit: str | None
    minutes: NotNegative | None
    modality: str
    stale: str
    mark: dict[str, Any]
    curve: list[tuple[NotNegative, NotNegative, Share]]
    corrections: dict[str, Correction]
    ablation: _Ablation
    memory_mib: NotNegative
    parameters: Count
    steps_to_success: NotNegative


class StoredSystem(TypedDict):
    """The tables of a whole system."""

    slug: str
    tables: dict[str, list[StoredRow]]


def read_table(file: str | Path) -> dict[str, Any] | None:
    """A method's or a system's table; None for a file that says in its keys that it is something else.

    ValueError for one that is damaged.
    """
    said = read_json(file)
    if isinstance(said, dict) and {"slug", "comparisons"} <= said.keys():
        return read_json(file, StoredResult)
    return read_system(file) if isinstance(said, dict) and said.keys() == {"slug", "tables"} else None


def read_system(file: str | Path) -> dict[str, Any]:
    """A system's table; ValueError for anything else."""
    found = read_json(file, StoredSystem)
    for name, rows in found["tables"].items():
        for place, row in enumerate(rows):
            if unsaid := [key for key in row["setting"] if key not in row]:
                raise ValueError(f"{file}: tables.{name}[{place}]: lacks {unsaid[0]} of its setting; {MEND}")
    return found
