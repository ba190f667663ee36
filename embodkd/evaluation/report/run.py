"""The report of a run, of a study, or of a folder with any of them in it: a section for each protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embodkd.evaluation.report.causes import Failed, by_cause
from embodkd.evaluation.report.curves import plots
from embodkd.evaluation.report.made import tables
from embodkd.evaluation.report.members import Member
from embodkd.evaluation.report.page import films, percent, picture, write_page
from embodkd.evaluation.report.paper import csv_table, latex_table
from embodkd.evaluation.report.places import find_members, videos
from embodkd.evaluation.report.protocols import facts
from embodkd.evaluation.report.sections import Section, Setting, sections
from embodkd.evaluation.report.sentences import lead, seeds_note, verdicts

_WAYS = {"blank": "all zeros", "mean": "its mean", "shuffle": "another episode's", "freeze": "its first frame, forever"}
_MOST_CARDS, _MOST_BARS, _MOST_COLUMNS, _FEW_RUNS = 6, 20, 6, 6


def write_report(
    run: str | Path, out: str | Path | None = None, *, title: str = "", told: Sequence[Mapping[str, str]] = ()
) -> Path:
    """Write report.html for a run folder, a study, or a folder with runs and studies in it.

    Runs that were judged by one protocol make a section; those of a study that differ by their seed alone are one
    setting in it. Shows what is there and leaves out what is not. ``out``: a file; by default report.html in ``run``.
    title: its own, in place of the task's or the folder's name; told: verdicts that stand above all else, each a pair,
    a short word and the rest of the sentence.
    """
    run = Path(run)
    found = find_members(run)
    made = sections(found.members)
    judged = [section for section in made if section.judged]
    of_study = any(member.study is not None for member in found.members)
    single = made[0] if len(made) == 1 else None
    name = run.resolve().name
    runs = _count(len(found.members), "run")
    return write_page(
        Path(out) if out is not None else run / "report.html",
        "run.html",
        title=title or (single.title if single and single.judged else name),
        told=told,
        facts=facts(single.runs) if single else [runs, _count(len(judged), "protocol")],
        single=single is not None,
        lead=lead(single) if single else "",
        runs=runs,
        sections=[_shown(section) for section in made],
        films=films({str(file.relative_to(run)): file for file in videos(run, found.members)}),
        ways=_WAYS,
        made=[(setting.title(member), member) for section in made for setting in section.settings
              for member in setting.runs],
        few=len(found.members) <= _FEW_RUNS,
        left_out=found.left_out,
        paper=(latex_table(judged), csv_table(judged)) if of_study and judged else None,
    )  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _shown(section: Section) -> dict[str, Any]:
    """What the template shows of a section."""
    readers, groups = _groups(section)
    telling, folded = plots(section)
    recorded = [(s.title(run), run, picture(run.courses)) for s in section.settings for run in s.runs if run.imitation]
    keys = dict.fromkeys(key for setting in section.judged for key in setting.choices)
    chosen = [key for key in keys if len({setting.choices.get(key) for setting in section.judged}) > 1]
    return {
        "title": section.title,
        "facts": facts(section.runs),
        "lead": lead(section),
        "settings": section.settings if len(section.settings) <= _MOST_CARDS else [],
        "bars": section.judged[:_MOST_BARS],
        "more_bars": section.judged[_MOST_BARS:],
        "rows": section.judged if len(section.judged) > max(len(section.roles), 1) else [],
        "chosen": chosen if len(chosen) > 1 else [],
        "middle": any(s.over and s.over.interquartile_mean is not None for s in section.judged),
        "seeds_note": seeds_note(section),
        "what_counts": _sentence(section.protocol.get("success", "Success at the last step of each episode")),
        "measures": _measures(section),
        "made": tables(section),
        "of_items": section.of_items,
        "verdicts": verdicts(section),
        "recorded": recorded,
        "readers": readers,
        "groups": groups,
        "ablated": [(s.title(run), s.colour, run.ablation) for s in section.settings for run in s.runs if run.ablation],
        "shown": telling,
        "folded": folded,
        "failures": _failures(section),
        "causes": [] if section.of_items else _causes(section),
        "most_bars": _MOST_BARS,
    }  # fmt: skip


def _sentence(said: object) -> str:
    words = str(said)
    return words[:1].upper() + words[1:]


def _measures(section: Section) -> tuple[list[str], list[list[str]]]:
    """Names of all that was measured, and of each setting its title and the values, means over seeds."""
    rows: dict[str, dict[str, list[float]]] = {}
    for setting in section.judged:
        for run in setting.judged:
            told = run.evaluation.manifest.get("measures", {}) if run.evaluation else {}
            for name, value in told.items() if isinstance(told, dict) else ():
                if isinstance(value, (int, float)):
                    rows.setdefault(setting.label, {}).setdefault(name, []).append(value)
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    return names, [[label, *(f"{sum(row[n]) / len(row[n]):.4g}" if n in row else "" for n in names)]
                   for label, row in rows.items()]  # fmt: skip


def _groups(section: Section) -> tuple[list[tuple[str, Member]], list[tuple[str, dict[str, Any]]]]:
    """Who reads anything, and the facts of each group that is read, the deployable ones first.

    Of many settings, those that read the same share a column.
    """
    readers = [setting for setting in section.settings if setting.reads]
    groups: dict[str, dict[str, Any]] = {}
    for setting in readers:
        for name, secret in setting.reads.items():
            facts_of = setting.runs[0].policy.get("groups", {}).get(name, {})
            groups.setdefault(name, {"shape": [], "privileged": secret, **facts_of})
    alike: dict[Any, list[Setting]] = {}
    for setting in readers:
        key = tuple(setting.reads) if len(readers) > _MOST_COLUMNS else id(setting)
        alike.setdefault(key, []).append(setting)
    columns = [(same[0].label if len(same) == 1 else f"{len(same)} settings", same[0].runs[0])
               for same in alike.values()]  # fmt: skip
    return columns, sorted(groups.items(), key=lambda item: item[1]["privileged"])


def _causes(section: Section) -> list[Failed]:
    """Why the episodes of each setting failed, all its seeds together."""
    found = [
        (setting.label, [run.evaluation for run in setting.judged if run.evaluation]) for setting in section.judged
    ]
    return by_cause((label, [one.failures for one in judged], sum(one.episodes for one in judged))
                    for label, judged in found)  # fmt: skip


def _failures(section: Section) -> list[tuple[str, str, str, str]]:
    """Named failures of each run, with seeds to play again."""
    rows = []
    for setting, member in ((s, run) for s in section.judged for run in s.judged):
        evaluation = member.evaluation
        assert evaluation is not None
        seeds: dict[str, list[int]] = {}
        for outcome in evaluation.outcomes:
            if not outcome.success:
                seeds.setdefault(outcome.failure or "unnamed", []).append(outcome.seed)
        for name, count in evaluation.failures.items():
            examples = ", ".join(map(str, seeds[name][:8])) + (", …" if count > 8 else "")
            often = f"{count} ({percent(count / evaluation.episodes)})"
            rows.append((setting.title(member), name.replace("_", " "), often, examples))
    return rows
