"""The sentences of a page that say figures: right for a teacher alone, for one of many settings, and for none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from embodkd.evaluation.comparison import compare
from embodkd.evaluation.comparison_over_seeds import compare_over_seeds
from embodkd.evaluation.over_seeds import crossed_outcomes
from embodkd.evaluation.report.page import listed, percent
from embodkd.evaluation.report.sections import Section, Setting

if TYPE_CHECKING:
    from markupsafe import Markup

_FEW = 3
"""So many settings are told one by one; of more, the extremes."""


def lead(section: Section) -> Markup:
    """One or two sentences with the numbers that matter."""
    from markupsafe import Markup

    judged = section.judged
    recorded = [(s.title(run), run.imitation.share) for s in section.settings for run in s.runs if run.imitation]
    if judged and all(setting.label in section.roles for setting in judged):
        return _of_roles(section)
    if 0 < len(judged) <= _FEW:
        first, *others = judged
        told = Markup("{} succeeds in {} of its {}").format(first.label, _rate(first), first.unit)
        return Markup("; ").join([told, *(Markup("{} in {}").format(s.label, _rate(s)) for s in others)]) + "."
    if judged:
        low, high = min(judged, key=lambda s: s.rate), max(judged, key=lambda s: s.rate)
        runs = sum(len(s.judged) for s in judged)
        who = f"{runs} runs" if runs == len(judged) else f"{len(judged)} settings of {runs} runs"
        return Markup("{} succeed in <b>{}</b> ({}) to <b>{}</b> ({}) of their {}.").format(
            who, percent(low.rate), low.label, percent(high.rate), high.label, judged[0].unit
        )
    if len(recorded) > _FEW:
        low_one, high_one = (pick(recorded, key=lambda pair: pair[1]) for pick in (min, max))
        return Markup("On recorded episodes {} runs err by {} ({}) to {} ({}) of what a constant guess does.").format(
            len(recorded), percent(low_one[1]), low_one[0], percent(high_one[1]), high_one[0]
        )
    if recorded:
        errs = [f"{title} errs by {percent(share)} of what a constant guess does" for title, share in recorded]
        return Markup("On recorded episodes {}.").format("; ".join(errs))
    return Markup("Not evaluated yet: run <code>embodkd evaluate</code> for success rates.")


def _of_roles(section: Section) -> Markup:
    from markupsafe import Markup

    parts: list[Markup] = []
    whose = "The"
    for role in ("Student", "Teacher", "Blind twin"):
        setting = section.roles.get(role)
        if setting is None or not setting.judged:
            continue
        verb = Markup(" in {}") if parts else Markup(" succeeds in {} of its {}")
        told = verb.format(_rate(setting), setting.unit)
        parts.append(Markup("{}{}{}").format(whose, _who(role, setting, bool(parts)), told))
        whose = "its" if whose == "its" or role == "Student" else "the"
    return Markup("{}.").format(Markup("; ").join(parts))


def _who(role: str, setting: Setting, after_another: bool) -> str:
    if role == "Student":
        return f" student reads only {listed(list(setting.reads)) or 'its sensors'} and"
    if role == "Blind twin":
        return " blind twin, trained alike without a camera,"
    also = "also " if after_another or not all(setting.reads.values()) else ""
    return f" teacher, which {also}reads privileged state," if any(setting.reads.values()) else " teacher"


def seeds_note(section: Section) -> str:
    """What the figures speak of: of settings trained anew, or of these very runs."""
    few = [setting for setting in section.judged if setting.over is None or setting.over.of_these_runs]
    if not few:
        return (
            "Bars are means over seeds, each dot is one seed, and the interval is that of new seeds and new episodes."
        )
    only = "With fewer than three seeds these figures speak of these runs only, not of others trained alike."
    if len(few) == len(section.judged):
        return only
    return f"{only} That holds for {_named(few)}; the others are means over seeds, each dot is one seed."


def verdicts(section: Section) -> list[dict[str, str]]:
    """The student against teacher and blind twin, on the same episodes."""
    student, found = section.roles.get("Student"), []
    for role in ("Teacher", "Blind twin"):
        other = section.roles.get(role)
        if not (student and other and student.judged and other.judged):
            continue
        try:
            short, _, numbers = _compared(student, other).partition(": ")
            rest = f", {numbers}"
        except ValueError as error:
            short, rest = "not comparable", f". {error}"
        found.append({"pair": f"Student against {role.lower()}", "short": short, "rest": rest})
    return found


def _compared(a: Setting, b: Setting) -> str:
    """One run against one, or the seeds of both."""
    one, two = ([run.evaluation for run in setting.judged if run.evaluation] for setting in (a, b))
    if len(one) == len(two) == 1:
        return str(compare(one[0], two[0]))
    success_SE = crossed_outcomes([*one, *two])
    paired = [seed for seed, _ in a.rates] == [seed for seed, _ in b.rates]
    return str(compare_over_seeds(success_SE[: len(one)], success_SE[len(one) :], paired=paired))


def _named(settings: Sequence[Setting]) -> str:
    return listed([setting.label for setting in settings]) if len(settings) <= _FEW else f"{len(settings)} settings"


def _rate(setting: Setting) -> Markup:
    from markupsafe import Markup

    over = f" (mean over {len(setting.judged)} seeds)" if setting.over else ""
    return Markup("<b>{}</b>{}").format(percent(setting.rate), over)
