"""One run as a report reads it: what lies in its folder, nothing computed yet."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import isfinite
from pathlib import Path
from typing import Any, TypedDict

from embodkd.core.config.ranges import Whole
from embodkd.core.runs.manifest import Manifest
from embodkd.core.runs.metrics import read_metrics
from embodkd.core.runs.reading import MEND, read_json, read_text
from embodkd.evaluation.imitation import FILE as IMITATION
from embodkd.evaluation.imitation import Imitation
from embodkd.evaluation.result import Evaluation, StoredRate
from embodkd.evaluation.samples.kept import FILE as SAMPLES
from embodkd.evaluation.samples.kept import Samples, samples_of

SIGNS = ("evaluation.json", IMITATION, "metrics.jsonl", "policy", "manifest.json")
"""What a folder is a run by, any of them."""

# What a protocol says at the least, of a data set and of a task.
_OF_ITEMS, _OF_A_TASK = ("data", "part"), ("task", "engine", "options", "seed")


class _Group(TypedDict):
    privileged: bool


class _ShownGroup(_Group, total=False):
    shape: list[Whole]


class _Spoilt(StoredRate):
    group: str
    way: str
    verdict: str


class _Ablation(TypedDict):
    """What a page shows of ablation.json."""

    intact: StoredRate
    rows: list[_Spoilt]
    unused: list[str]
    protocol: dict[str, Any]


class _Task(TypedDict, total=False):
    name: str
    engine: str | None


class _Policy(TypedDict, total=False):
    """What a page shows of a policy's config.json."""

    groups: dict[str, _ShownGroup]
    lineage: dict[str, Any]
    task: _Task


@dataclass
class Member:
    """One run; what is missing on disk is None or empty.

    ``place`` is where it lies, for people; a run of a study has ``study``, the place of that, and what it was asked
    for beside all others: ``choices`` without its seed, and ``seed``.
    """

    folder: Path
    place: str
    study: str | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    evaluation: Evaluation | None = None
    samples: Samples | None = None
    imitation: Imitation | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    ablation: dict[str, Any] | None = None
    config: str = ""

    @property
    def reads(self) -> dict[str, bool]:
        """Observation groups that the policy reads -> whether they are privileged: as the task says, where there is
        none as its own config.json does; ValueError if that contradicts it."""
        groups = self.policy.get("groups", {})
        own = {name: bool(group["privileged"]) for name, group in groups.items()}
        for name in own.keys() & self.told.keys():
            if own[name] != self.told[name]:
                raise ValueError(
                    f"{self.folder}: policy/config.json contradicts its task about whether group {name!r} is "
                    "privileged; evaluate the policy again, which asks the task"
                )
        return own | self.told

    @property
    def result(self) -> Evaluation | Imitation | None:
        """How it was judged, in a simulator or else by recorded episodes."""
        return self.evaluation or self.imitation

    @cached_property
    def told(self) -> dict[str, bool]:
        """Which groups are privileged by its task's own word: that of now, where it cannot be asked that of the day on
        which it was judged; {} where there is neither."""
        judged = self.result.manifest.get("reads", {}) if self.result else {}
        own = self.policy.get("groups", {})
        now = {name: mark for name, mark in _marks(self.policy.get("task", {})).items() if name in own}
        return {name: mark == "privileged" for name, mark in judged.items()} | now

    @property
    def command(self) -> str:
        """The command that made the run, "" if unknown."""
        words = [str(word) for word in self.manifest.get("command", [])]
        if not words:
            return ""
        # Started as `python -m embodkd.cli`, the program calls itself by its file.
        program = Path(words[0]).name
        return shlex.join(["embodkd" if program == "__main__.py" else program, *words[1:]])

    @property
    def minutes(self) -> float | None:
        """Minutes of training, None if unknown."""
        minutes = self.manifest.get("minutes")
        return minutes if isinstance(minutes, (int, float)) else None

    @property
    def making(self) -> dict[str, Any]:
        """What could move a number, by its name for people; what is not known is absent."""
        judged = self.evaluation.manifest if self.evaluation else {}
        manifest = {**judged, **self.manifest}
        minutes = manifest.get("minutes")
        facts = {
            "Seed": manifest.get("seed"),
            "Minutes": f"{minutes:.2f}" if isinstance(minutes, (int, float)) else None,
            "Code": manifest.get("git_commit"),
            "Device": manifest.get("device"),
            "Renderer": judged.get("renderer"),
            "Weights (SHA-256)": judged.get("weights_sha256"),
            "Versions": ", ".join(
                f"{name} {version}" for name, version in manifest.get("versions", {}).items() if version
            ),
        }
        return {name: value for name, value in facts.items() if value not in (None, "")}

    @property
    def courses(self) -> Path | None:
        """The picture beside `imitation`, None without one."""
        file = (self.folder / IMITATION).with_suffix(".png")
        return file if self.imitation is not None and file.is_file() and not file.is_symlink() else None

    def series(self, key: str) -> list[tuple[float, float]]:
        """(step, value) of one logged scalar, where it was logged and is a number."""
        pairs = ((row["step"], row.get(key)) for row in self.metrics)
        return [(step, value) for step, value in pairs if isinstance(value, (int, float)) and isfinite(value)]


def stays_in(file: Path, places: Sequence[Path]) -> bool:
    """Whether a file lies in one of `places`, and is no link out of them: a page holds nothing else of the disk."""
    return any(file.resolve().is_relative_to(place.resolve()) for place in places)


def read_member(folder: Path, place: str = "") -> Member:
    """What lies in a run folder; ValueError for a file that says something impossible or contradicts another."""
    member = Member(folder, place or folder.resolve().name)
    member.evaluation = Evaluation.of_run(folder)
    protocol = member.evaluation.protocol if member.evaluation else {}
    unsaid = [key for key in (_OF_ITEMS if "data" in protocol else _OF_A_TASK) if key not in protocol]
    if member.evaluation and unsaid:
        raise ValueError(f"{folder / 'evaluation.json'}: protocol: lacks {', '.join(unsaid)}; {MEND}")
    drawn = samples_of(folder / "evaluation.json")
    if member.evaluation and _own(folder, f"{drawn.name}/{SAMPLES}"):
        member.samples = Samples.load(drawn)
        if member.samples.weights_sha256 != member.evaluation.manifest.get("weights_sha256"):
            raise ValueError(
                f"{drawn}: of other weights than evaluation.json; say `embodkd evaluate` once more, which writes both"
            )
    if (folder / IMITATION).exists():
        member.imitation = Imitation.load(folder)
    if file := _own(folder, "manifest.json"):
        member.manifest = read_json(file, Manifest)
    if file := _own(folder, "policy/config.json"):
        member.policy = read_json(file, _Policy)
    if file := _own(folder, "ablation.json"):
        member.ablation = read_json(file, _Ablation)
        _of_one_world(folder, protocol, member.ablation["protocol"])
    if file := _own(folder, "metrics.jsonl"):
        member.metrics = read_metrics(file)
    if file := _own(folder, "config.yaml"):
        member.config = read_text(file)
    return member


def _of_one_world(folder: Path, judged: Mapping[str, Any], spoiled: Mapping[str, Any]) -> None:
    """ValueError if a policy was judged in one world and its sensors were spoiled in another."""
    apart = [key for key in ("task", "engine", "options") if {key} <= judged.keys() & spoiled.keys()]
    apart = [key for key in apart if judged[key] != spoiled[key]]
    if apart:
        raise ValueError(
            f"{folder}: evaluation.json and ablation.json differ in {' and '.join(apart)}; say `embodkd evaluate "
            "ablate=true` once more, which writes both"
        )


def _marks(task: Mapping[str, Any]) -> dict[str, bool]:
    """What a task says of its groups, whatever its options; {} for a data set's, or one that is not known here."""
    from embodkd.envs import task_names

    name = task.get("name")
    return {} if name not in task_names() or task.get("engine", "") is None else _marks_of(name)


@cache
def _marks_of(task: str) -> dict[str, bool]:
    from embodkd.envs import make_task

    with closing(make_task(task)) as world:
        return {name: group.privileged for name, group in world.spec.groups.items()}


def _own(folder: Path, name: str) -> Path | None:
    """A run's file, if it is there and no link out of the run's folder."""
    file = folder / name
    return file if file.exists() and stays_in(file, [folder]) else None
