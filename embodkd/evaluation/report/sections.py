"""What belongs together on a page: runs that differ by their seed alone, and settings that were judged alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embodkd.core.runs.study import natural
from embodkd.evaluation.over_seeds import OverSeeds, grouped
from embodkd.evaluation.report.labels import labels
from embodkd.evaluation.report.members import Member
from embodkd.evaluation.report.protocols import alike, titles

_OF_TRIO = {"Teacher": "--c0", "Student": "--c1", "Blind twin": "--c2"}
_COLOURS = ("--c0", "--c1", "--c3", "--c4", "--c5")
OTHER = "--other"
"""Of settings beyond the number of colours that an eye can tell apart."""


@dataclass(eq=False)
class Setting:
    """Runs of a study that differ by their seed alone, or a single run; ``name`` is where it lies and what was chosen,
    ``label`` what of that sets it apart in its section."""

    name: str
    runs: list[Member]
    label: str = ""
    colour: str = OTHER
    _over: OverSeeds | None = field(default=None, init=False, repr=False)

    @property
    def judged(self) -> list[Member]:
        """Those of its runs that were judged in a simulator or by a data set."""
        return [run for run in self.runs if run.evaluation]

    @property
    def over(self) -> OverSeeds | None:
        """The statistics over its seeds, None of a single run."""
        judged = [run.evaluation for run in self.judged if run.evaluation]
        if self._over is None and len(judged) > 1:
            self._over = grouped(judged)
        return self._over

    @property
    def rate(self) -> float:
        """Its success rate, a mean over seeds."""
        first = self.judged[0].evaluation
        assert first is not None
        return self.over.mean if self.over else first.success_rate

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of that: over seeds and episodes, or of a single run Wilson's."""
        first = self.judged[0].evaluation
        assert first is not None
        return (self.over.low, self.over.high) if self.over else first.ci95

    @property
    def rates(self) -> list[tuple[str, float]]:
        """(seed, success rate) of each judged run."""
        return [(_seed(run), run.evaluation.success_rate) for run in self.judged if run.evaluation]

    @property
    def episodes(self) -> int:
        """How many episodes (or items) each of its runs was judged by."""
        return next((run.evaluation.episodes for run in self.judged if run.evaluation), 0)

    @property
    def unit(self) -> str:
        """What it was judged by: episodes, or items of a data set."""
        return next((run.evaluation.unit for run in self.judged if run.evaluation), "episodes")

    @property
    def beware(self) -> list[str]:
        """Sentences without which its figure should not be read."""
        return list(dict.fromkeys(said for run in self.judged if run.evaluation for said in run.evaluation.beware))

    @property
    def reads(self) -> dict[str, bool]:
        """Observation groups that it reads -> whether they are privileged."""
        return self.runs[0].reads

    @property
    def minutes(self) -> float | None:
        """Minutes of training, a mean over its runs; None if unknown."""
        known = [run.minutes for run in self.runs if run.minutes is not None]
        return sum(known) / len(known) if known else None

    @property
    def choices(self) -> Mapping[str, str]:
        """What it was asked for beside all others of its study."""
        return self.runs[0].choices

    def title(self, run: Member) -> str:
        """What one of its runs is called."""
        return self.label if len(self.runs) == 1 else f"{self.label}, seed {_seed(run)}"


@dataclass
class Section:
    """Settings that were judged by one protocol, in natural order; with an empty one, those that were not judged."""

    protocol: dict[str, Any]
    settings: list[Setting]
    title: str = ""
    roles: dict[str, Setting] = field(default_factory=dict)

    @property
    def judged(self) -> list[Setting]:
        """Those with a success rate."""
        return [setting for setting in self.settings if setting.judged]

    @property
    def runs(self) -> list[Member]:
        """All runs."""
        return [run for setting in self.settings for run in setting.runs]

    @property
    def of_items(self) -> bool:
        """Whether it is about the items of a data set."""
        return "data" in self.protocol and bool(self.judged)


def sections(found: Sequence[Member]) -> list[Section]:
    """Runs by what they were judged by, and in each section by setting; those not judged go where their task is."""
    judged: dict[str, Section] = {}
    for member in found:
        if member.result is not None:
            protocol = alike(member.result.protocol)
            section = judged.setdefault(json.dumps(protocol, sort_keys=True, default=str), Section(protocol, []))
            _put(section, member)
    known, unjudged = list(judged.values()), Section({}, [])
    for member in found:
        if member.result is None:
            _put(_home(member, known) or unjudged, member)
    all_of_them = [*known, unjudged] if unjudged.settings else known
    for section, title in zip(all_of_them, titles([section.protocol for section in all_of_them]), strict=True):
        section.title = title
        _finish(section)
    return sorted(all_of_them, key=lambda section: (not section.protocol, natural(section.title)))


def _home(member: Member, known: Sequence[Section]) -> Section | None:
    """The only section of its task; of a run that says no task, the only section."""
    task = member.policy.get("task", {}).get("name")
    homes = [section for section in known if task is None or section.protocol.get("task") == task]
    return homes[0] if len(homes) == 1 else None


def _put(section: Section, member: Member) -> None:
    for setting in section.settings:
        first = setting.runs[0]
        same = member.study is not None and (first.study, first.choices) == (member.study, member.choices)
        if same and _on_the_same_episodes([*setting.judged, member]):
            setting.runs.append(member)
            return
    section.settings.append(Setting(_name(member), [member]))


def _on_the_same_episodes(runs: Sequence[Member]) -> bool:
    """Whether what was judged may be averaged: on the same episodes of the same world, of which it takes two."""
    judged = [run.evaluation for run in runs if run.evaluation]
    seeds = [[outcome.seed for outcome in one.outcomes] for one in judged]
    alone = len(judged) < 2
    return alone or (len(seeds[0]) > 1 and seeds[-1] == seeds[0] and judged[-1].protocol == judged[0].protocol)


def _name(member: Member) -> str:
    if member.study is None:
        return member.place
    chosen = ",".join(f"{key}={value}" for key, value in member.choices.items())
    return f"{member.study}/{chosen}" if chosen else member.study


def _seed(run: Member) -> str:
    return str(run.seed if run.seed is not None else run.manifest.get("seed", "unknown"))


def _finish(section: Section) -> None:
    """Order and labels of its settings, and who is who among them."""
    names = [setting.name for setting in section.settings]
    for setting in section.settings:
        setting.runs.sort(key=lambda run: natural(_seed(run)))
        if names.count(setting.name) > 1:
            setting.name = f"{setting.name},seed={_seed(setting.runs[0])}"
    for setting, label in zip(section.settings, labels([s.name for s in section.settings]), strict=True):
        setting.label = label
    order = list(_OF_TRIO)
    section.settings.sort(key=lambda s: (order.index(s.label) if s.label in order else 9, natural(s.name)))
    section.roles = {s.label: s for s in section.settings if s.label in order}
    _colour(section)


def _colour(section: Section) -> None:
    """One for each setting; where there are too many, for the best."""
    others = [setting for setting in section.settings if setting.label not in section.roles]
    free = [colour for colour in _COLOURS if colour not in {_OF_TRIO[role] for role in section.roles}]
    if len(others) == len(free) + 1 and "Blind twin" not in section.roles:
        free.append(_OF_TRIO["Blind twin"])  # a grey, which would be lost among many others
    best = sorted(others, key=lambda setting: -setting.rate if setting.judged else 1.0)[: len(free)]
    for setting in section.settings:
        if setting in best:
            setting.colour = free.pop(0)
        setting.colour = _OF_TRIO.get(setting.label, setting.colour)
