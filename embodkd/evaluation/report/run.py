"""The report of a run, or of a folder with teacher, student and blind twin in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embodkd.evaluation.comparison import compare
from embodkd.evaluation.report.charts import curve
from embodkd.evaluation.report.members import Member, members, videos
from embodkd.evaluation.report.page import films, percent, picture, write_page

_WAYS = {"blank": "all zeros", "mean": "its mean", "shuffle": "another episode's", "freeze": "its first frame, forever"}


def write_report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write report.html for a run folder, or for a folder with teacher/, student/, blind/ ... in it.

    Shows what is there and leaves out what is not.  ``out``: a file; by default report.html in ``run``.
    """
    run = Path(run)
    found = members(run)
    of_items = any(member.evaluation is not None and member.evaluation.unit == "items" for member in found)
    readers, groups = _groups(found)
    shown, folded = _curves(found)
    return write_page(
        Path(out) if out is not None else run / "report.html",
        "run.html",
        title=_title(run, found),
        facts=_facts(found),
        members=found,
        by_name=dict.fromkeys(("student", "teacher", "blind")) | {m.name: m for m in found if m.evaluation},
        of_items=of_items,
        what_counts="The largest logit is at the label" if of_items else "Success at the last step of each episode",
        verdicts=_verdicts(found),
        films=films({str(file.relative_to(run)): file for file in videos(run, found)}),
        recorded=[(member, picture(member.courses)) for member in found if member.imitation],
        readers=readers,
        groups=groups,
        ways=_WAYS,
        shown=shown,
        folded=folded,
        failures=_failures(found),
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
        seeds = protocol["seed"] if isinstance(protocol["seed"], list) else [protocol["seed"]]
        several = "s" if len(seeds) > 1 else ""
        facts.append(f"{judged.episodes} episodes of seed{several} {', '.join(map(str, seeds))}")
    if commit := judged.manifest.get("git_commit"):
        facts.append(f"code {commit[:10]}{' with changes' if commit.endswith('-dirty') else ''}")
    return facts


def _verdicts(found: Sequence[Member]) -> list[dict[str, str]]:
    """The student against teacher and blind twin, on paired seeds."""
    judged = {m.name: m for m in found if m.evaluation}
    verdicts = []
    for other in ("teacher", "blind"):
        if "student" in judged and other in judged:
            a, b = judged["student"], judged[other]
            try:
                short, _, numbers = str(compare(a.evaluation, b.evaluation)).partition(": ")  # type: ignore[arg-type]
                rest = f", {numbers}"
            except ValueError as error:
                short, rest = "not comparable", f". {error}"
            verdicts.append({"pair": f"{a.title} against {b.title.lower()}", "short": short, "rest": rest})
    return verdicts


def _groups(found: Sequence[Member]) -> tuple[list[Member], list[tuple[str, dict[str, Any]]]]:
    """Who reads anything, and the facts of each group that is read, the deployable ones first."""
    readers = [member for member in found if member.reads]
    groups: dict[str, dict[str, Any]] = {}
    for member in readers:
        for name, secret in member.reads.items():
            facts = member.policy.get("groups", {}).get(name, {})
            groups.setdefault(name, {"shape": [], "privileged": secret, **facts})
    return readers, sorted(groups.items(), key=lambda item: item[1]["privileged"])


def _curves(found: Sequence[Member]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Plots of metrics.jsonl: the telling ones, and all others."""
    shown, rest = [], []
    for member in found:
        success, single, others = _telling(member)
        if success:
            shown.append(_plot(member, success, "success while learning", share=True))
        shown += [_plot(member, [key], key) for key in single]
        rest += [_plot(member, [key], key) for key in others]
    return [plot for plot in shown if plot["svg"]], [plot for plot in rest if plot["svg"]]


def _telling(member: Member) -> tuple[list[str], list[str], list[str]]:
    """Logged keys: up to two success shares for one plot, up to two more for plots of their own, and the others."""
    keys = list(dict.fromkeys(k for row in member.metrics for k in row if k not in ("step", "time_s")))
    success = sorted(
        (key for key in keys if "success" in key), key=lambda key: ("evaluation" not in key, "student" not in key)
    )[:2]
    # A policy gradient's own loss says nothing about learning; the value's and the imitation's do.
    losses = [k for k in keys if "value_loss" in k or (k.startswith("student/") and not k.endswith("grad_norm"))]
    returns = [key for key in keys if "return" in key or "rew" in key]
    single = [*returns[:1], *(losses or [key for key in keys if "loss" in key])[:1]]
    return success, single, [key for key in keys if key not in success and key not in single]


def _plot(member: Member, keys: Sequence[str], title: str, share: bool = False) -> dict[str, Any]:
    by_steps = member.policy and not member.policy.get("lineage", {}).get("teacher")
    x_label = "control steps" if by_steps else "updates"
    svg = curve({key: member.series(key) for key in keys}, colour=member.colour, x_label=x_label, share=share)
    return {"title": f"{member.title}: {title}", "series": keys, "colour": member.colour, "svg": svg}


def _failures(found: Sequence[Member]) -> list[tuple[str, str, str, str]]:
    """Named failures of each run, with seeds to play again."""
    rows = []
    for member in found:
        if member.evaluation and member.evaluation.failures:
            seeds: dict[str, list[int]] = {}
            for outcome in member.evaluation.outcomes:
                if not outcome.success:
                    seeds.setdefault(outcome.failure or "unnamed", []).append(outcome.seed)
            for name, count in member.evaluation.failures.items():
                examples = ", ".join(map(str, seeds[name][:8])) + (", …" if count > 8 else "")
                often = f"{count} ({percent(count / member.evaluation.episodes)})"
                rows.append((member.title, name.replace("_", " "), often, examples))
    return rows
