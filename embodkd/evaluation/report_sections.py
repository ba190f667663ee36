"""The sections of a report, each from the runs that were found; a section with nothing to show is empty text."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from embodkd.evaluation import charts
from embodkd.evaluation.compare import compare
from embodkd.evaluation.report_data import Member, videos

_LARGEST_VIDEO = 25_000_000
_WAYS = {"blank": "all zeros", "mean": "its mean", "shuffle": "another episode's", "freeze": "its first frame, forever"}


def section(title: str, note: str, body: str) -> str:
    """A titled part of the page, "" without a body; `note` and `body` are HTML."""
    return f"<section><h2>{escape(title)}</h2><p>{note}</p>{body}</section>" if body else ""


def cards(found: Sequence[Member]) -> str:
    """One card per run: success, interval, minutes, what it reads."""
    cards = []
    for member in found:
        minutes = member.manifest.get("minutes")
        spent = f"<small>{minutes:.1f} min of training</small>" if isinstance(minutes, (int, float)) else ""
        figure = '<p class="big">–</p><p class="under">not evaluated</p>'
        if member.evaluation:
            number = charts.percent(member.evaluation.success_rate).removesuffix("\u00a0%")
            low, high = member.evaluation.ci95
            range_ = f"95 % interval {charts.percent(low)} to {charts.percent(high)}"
            figure = f'<p class="big">{number}<span>%</span></p>'
            figure += f'<p class="under">{range_}, {member.evaluation.episodes} {member.evaluation.unit}</p>'
            figure += "".join(f'<p class="beware">Beware: {escape(said)}.</p>' for said in member.evaluation.beware)
        chips = "".join(_chip(name, secret) for name, secret in member.reads.items())
        cards.append(
            f'<div class="card kpi" style="--line:var({member.colour})"><h3>{escape(member.title)}{spent}</h3>{figure}'
            f'<div class="chips">{chips}</div></div>'
        )
    return f'<div class="grid">{"".join(cards)}</div>'


def _chip(name: str, secret: bool) -> str:
    mark = "privileged: " if secret and name != "privileged" else ""
    return f'<span class="chip{" secret" if secret else ""}">{mark}{escape(name)}</span>'


def success(found: Sequence[Member]) -> str:
    """Bars with intervals, and paired verdicts against teacher and blind twin."""
    bars = [
        charts.bar(
            member.title, member.evaluation.success_rate, member.evaluation.ci95, colour=member.colour,
            hint="same budget, no camera" if member.name == "blind" else "",
            detail=f"{member.evaluation.successes} of {member.evaluation.episodes}",
        )
        for member in found
        if member.evaluation
    ]  # fmt: skip
    body = f'<div class="card">{"".join(bars)}{_verdicts(found)}</div>' if bars else ""
    what = "The largest logit is at the label" if _of_items(found) else "Success at the last step of each episode"
    note = f"{what}. The whisker is Wilson’s 95 % interval."
    return section("Success", note, body)


def _verdicts(found: Sequence[Member]) -> str:
    judged = {m.name: m for m in found if m.evaluation}
    pairs = [(a, b) for a, b in (("student", "teacher"), ("student", "blind")) if a in judged and b in judged]
    lines = []
    for first, second in pairs:
        a, b = judged[first], judged[second]
        names = f"{escape(a.title)} against {escape(b.title).lower()}"
        try:
            verdict, _, numbers = str(compare(a.evaluation, b.evaluation)).partition(": ")  # type: ignore[arg-type]
            lines.append(f"<li>{names}: <b>{escape(verdict)}</b>, {escape(numbers)}</li>")
        except ValueError as error:
            lines.append(f"<li>{names}: <b>not comparable</b>. {escape(str(error))}</li>")
    return f'<ul class="verdicts">{"".join(lines)}</ul>' if lines else ""


def films(run: Path, found: Sequence[Member]) -> str:
    """Every mp4 of the runs, inside the page."""
    return film_section({str(file.relative_to(run)): file for file in videos(run, list(found))})


def film_section(files: Mapping[str, Path]) -> str:
    """These films, inside the page, by the names below them."""
    figures = []
    for index, (name, file) in enumerate(files.items()):
        if file.stat().st_size > _LARGEST_VIDEO:
            figures.append(f"<p>{escape(name)} is {file.stat().st_size / 1e6:.0f} MB and was left out.</p>")
            continue
        data = base64.b64encode(file.read_bytes()).decode()
        play = " autoplay" if index == 0 else ""
        figures.append(
            f'<figure><video controls muted loop playsinline{play} src="data:video/mp4;base64,{data}"></video>'
            f"<figcaption>{escape(name)}</figcaption></figure>"
        )
    body = f'<div class="card">{"".join(figures)}</div>' if figures else ""
    note = "The same episodes for each policy, with what its cameras show it, in real time."
    return section("In motion", note, body)


def reading(found: Sequence[Member]) -> str:
    """Which observation groups each policy reads, and their marks."""
    readers = [member for member in found if member.reads]
    groups: dict[str, dict[str, Any]] = {}
    for member in readers:
        for name, secret in member.reads.items():
            facts = member.policy.get("groups", {}).get(name, {})
            groups.setdefault(name, {"privileged": secret, **facts})
    head = "".join(f"<th>{escape(member.title)}</th>" for member in readers)
    rows = []
    for name, facts in sorted(groups.items(), key=lambda item: item[1]["privileged"]):
        shape = " × ".join(str(side) for side in facts.get("shape", []))
        cells = "".join(
            '<td class="yes">reads</td>' if name in member.reads else '<td class="no">–</td>' for member in readers
        )
        secret = facts["privileged"]
        mark = '<span class="chip secret">privileged</span>' if secret else '<span class="chip">deployable</span>'
        rows.append(f"<tr><td><code>{escape(name)}</code></td><td>{mark}</td><td>{shape}</td>{cells}</tr>")
    table = f"<table><tr><th>Observation group</th><th>Mark</th><th>Shape</th>{head}</tr>{''.join(rows)}</table>"
    note = "A privileged group exists in simulation only; a deployed robot would not have it."
    return section("What each policy reads", note, f'<div class="card scroll">{table}</div>' if rows else "")


def ablations(found: Sequence[Member]) -> str:
    """Sensor ablations, from ablation.json."""
    cards = []
    for member in found:
        if member.ablation is None:
            continue
        intact = member.ablation["intact"]
        bars = [_ablation_bar("all sensors", "", intact, "intact", member.colour)]
        for row in member.ablation["rows"]:
            hint = f"replaced by {_WAYS.get(row['way'], row['way'])}"
            bars.append(_ablation_bar(row["group"], hint, row, row["verdict"], "--c2"))
        unused = ", ".join(member.ablation.get("unused", []))
        told = f'<p class="note">No proof that it uses: <b>{escape(unused)}</b>.</p>' if unused else ""
        cards.append(f'<div class="card"><h3>{escape(member.title)}</h3>{told}{"".join(bars)}</div>')
    note = (
        "Each sensor is spoiled in turn, on the same episodes. A policy that loses nothing does not need that sensor; "
        "another episode’s picture is the fairest test, since it looks right and is wrong."
    )
    return section("Does it use its sensors?", note, "".join(cards))


def _ablation_bar(label: str, hint: str, row: dict[str, Any], verdict: str, colour: str) -> str:
    detail = f"{row['successes']} of {row['episodes']}, {verdict}"
    return charts.bar(label, row["success_rate"], tuple(row["ci95"]), colour=colour, hint=hint, detail=detail)


def curves(found: Sequence[Member]) -> str:
    """Curves of metrics.jsonl: the telling ones in front, all others folded."""
    shown, rest = [], []
    for member in found:
        by_steps = member.policy and not member.policy.get("lineage", {}).get("teacher")
        x_label = "control steps" if by_steps else "updates"
        success, single, others = _telling(member)
        if success:
            shown.append(_plot(member, success, x_label, "success while learning", share=True))
        shown += [_plot(member, [key], x_label, key) for key in single]
        rest += [_plot(member, [key], x_label, key) for key in others]
    body = f'<div class="grid wide">{"".join(filter(None, shown))}</div>' if any(shown) else ""
    if any(rest):
        more = "".join(filter(None, rest))
        body += f'<details><summary>All other curves</summary><div class="grid wide more">{more}</div></details>'
    return section("Learning", "As logged in metrics.jsonl.", body)


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


def _plot(member: Member, keys: Sequence[str], x_label: str, title: str, share: bool = False) -> str:
    svg = charts.curve({key: member.series(key) for key in keys}, colour=member.colour, x_label=x_label, share=share)
    styles = (f"--key:var({member.colour})", "--key:var(--ink)")
    legend = "".join(
        f'<i{"" if n == 0 else " class=second"} style="{styles[n]}">{escape(key)}</i>' for n, key in enumerate(keys)
    )
    head = f"<h3>{escape(member.title)}: {escape(title)}</h3><p>{legend}</p>"
    return f'<div class="card plot">{head}{svg}</div>' if svg else ""


def failures(found: Sequence[Member]) -> str:
    """Named failures with seeds to play again."""
    rows = []
    for member in found:
        if member.evaluation and member.evaluation.failures:
            seeds: dict[str, list[int]] = {}
            for outcome in member.evaluation.outcomes:
                if not outcome.success:
                    seeds.setdefault(outcome.failure or "unnamed", []).append(outcome.seed)
            for name, count in member.evaluation.failures.items():
                examples = ", ".join(map(str, seeds[name][:8])) + (", …" if count > 8 else "")
                share = charts.percent(count / member.evaluation.episodes)
                rows.append(
                    f"<tr><td>{escape(member.title)}</td><td>{escape(name.replace('_', ' '))}</td>"
                    f"<td>{count} ({share})</td><td>{examples}</td></tr>"
                )
    unit, key = ("Items", "Sample ids") if _of_items(found) else ("Episodes", "Seeds")
    head = f"<tr><th>{'Model' if unit == 'Items' else 'Policy'}</th><th>Failure</th><th>{unit}</th><th>{key}</th></tr>"
    table = f'<div class="card scroll"><table>{head}{"".join(rows)}</table></div>' if rows else ""
    if unit == "Items":
        return section("What is taken for what", "The ids are those of the data set.", table)
    return section("How episodes fail", "Each seed can be played again by itself.", table)


def _of_items(found: Sequence[Member]) -> bool:
    """Whether classifiers are shown."""
    return any(member.evaluation is not None and member.evaluation.unit == "items" for member in found)


def making(found: Sequence[Member]) -> str:
    """Command, seed, minutes, commit, versions, settings."""
    cards = []
    for member in found:
        judged = member.evaluation.manifest if member.evaluation else {}
        manifest = {**judged, **member.manifest}
        versions = {k: v for k, v in manifest.get("versions", {}).items() if v}
        facts = {
            "Seed": manifest.get("seed"),
            "Minutes": f"{minutes:.2f}" if isinstance(minutes := manifest.get("minutes"), (int, float)) else None,
            "Code": manifest.get("git_commit"),
            "Device": manifest.get("device"),
            "Renderer": judged.get("renderer"),
            "Weights (SHA-256)": judged.get("weights_sha256"),
            "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        }
        listed = "".join(
            f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items() if value not in (None, "")
        )
        command = f"<pre>{escape(member.command)}</pre>" if member.command else ""
        config = ""
        if member.config:
            config = f"<details><summary>Settings</summary><pre>{escape(member.config)}</pre></details>"
        cards.append(f'<div class="card made"><h3>{escape(member.title)}</h3>{command}<dl>{listed}</dl>{config}</div>')
    return section("How it was made", "The command and everything that could move a number.", "".join(cards))
