"""The report of a run: one HTML file with everything inside, which opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from embodkd.core.runs.files import write_atomic
from embodkd.evaluation import charts
from embodkd.evaluation import report_sections as show
from embodkd.evaluation.report_data import Member, members


def write_report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write report.html for a run folder, or for a folder with teacher/, student/, blind/ ... in it.

    Shows what is there and leaves out what is not.  ``out``: a file; by default report.html in ``run``.
    """
    run = Path(run)
    found = members(run)
    sections = [
        show.cards(found),
        show.success(found),
        show.films(run, found),
        show.reading(found),
        show.ablations(found),
        show.curves(found),
        show.failures(found),
        show.making(found),
    ]
    page = page_of(escape(_title(run, found)), _facts(found), _lead(found), sections)
    out = Path(out) if out is not None else run / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page)
    return out


def page_of(title: str, facts: Sequence[str], lead: str, sections: Sequence[str]) -> str:
    """The whole page around its sections; `title`, `lead` and sections are HTML, facts plain text."""
    import embodkd

    template = resources.files("embodkd.evaluation").joinpath("report_template.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=title,
        facts="".join(f"<span>{escape(fact)}</span>" for fact in facts),
        lead=lead,
        sections="\n".join(section for section in sections if section),
        version=embodkd.__version__,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
    )


def _title(run: Path, found: Sequence[Member]) -> str:
    for member in found:
        if member.evaluation:
            protocol = member.evaluation.protocol
            if "data" in protocol:
                return f"{protocol['data']['name'].replace('_', ' ').capitalize()}, {protocol['part']}"
            difficulty = protocol["options"].get("randomness")
            task = protocol["task"].replace("_", " ").capitalize()
            return f"{task}, {difficulty} randomness" if difficulty else task
    return run.resolve().name


def _facts(found: Sequence[Member]) -> list[str]:
    judged = next((m.evaluation for m in found if m.evaluation), None)
    if judged is None:
        return []
    protocol, versions = judged.protocol, judged.manifest.get("versions", {})
    if "data" in protocol:
        facts = [f"{judged.episodes} items, drawn with seed {protocol['data']['seed']}"]
    else:
        facts = [f"{protocol['engine']} {versions.get(protocol['engine']) or ''}".strip()]
        first, last = protocol["seed"], protocol["seed"] + protocol["episodes"] - 1
        facts.append(f"{protocol['episodes']} episodes, seeds {first} to {last}")
    if commit := judged.manifest.get("git_commit"):
        facts.append(f"code {commit[:10]}{' with changes' if commit.endswith('-dirty') else ''}")
    return facts


def _lead(found: Sequence[Member]) -> str:
    """One or two sentences with the numbers that matter."""
    by_name = {m.name: m for m in found if m.evaluation}
    said = []
    student, teacher, blind = (by_name.get(name) for name in ("student", "teacher", "blind"))
    if student:
        said.append(
            f"The student reads only {_names(student)} and succeeds in <b>{_rate(student)}</b> of its {_unit(student)}"
        )
    if teacher:
        what = ", which also reads privileged state," if any(teacher.reads.values()) else ""
        said.append(f"{'its' if student else 'The'} teacher{what} in <b>{_rate(teacher)}</b>")
    if blind:
        whose = "its" if student else "The"
        said.append(f"{whose} blind twin, trained alike without a camera, in <b>{_rate(blind)}</b>")
    if not said:
        said = [f"{escape(m.title)} succeeds in <b>{_rate(m)}</b> of its {_unit(m)}" for m in by_name.values()]
    return "; ".join(said) + "." if said else "Not evaluated yet: run <code>embodkd evaluate</code> for success rates."


def _names(member: Member) -> str:
    names = [escape(name) for name in member.reads]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "its sensors"


def _unit(member: Member) -> str:
    return member.evaluation.unit if member.evaluation else "episodes"


def _rate(member: Member) -> str:
    return charts.percent(member.evaluation.success_rate) if member.evaluation else "?"
