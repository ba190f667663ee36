"""The report of a whole system's tables: one HTML file from the rows that `embodkd reproduce` stored."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from embodkd.core.runs.files import read_json, write_atomic
from embodkd.evaluation import charts
from embodkd.evaluation.interval import wilson
from embodkd.evaluation.report import page_of
from embodkd.evaluation.report_sections import film_section, section

Row = Mapping[str, Any]
_COLOURS = ("--c0", "--c1", "--c2", "--c3", "--c4", "--c5")


def write_tables(file: str | Path, out: str | Path | None = None) -> Path:
    """Write the page beside `file`, or to `out`; films that lie in the rows' run folders are inside.

    ValueError if there is no such file, or no rows of such tables in it.
    """
    file = Path(file)
    if not file.is_file():
        raise ValueError(
            f"{file}: no such file; name one that `embodkd reproduce` wrote, for example results/resip.json"
        )
    result = read_json(file)
    rows = [row for table in result.get("tables", {}).values() for row in table if "cell" in row]
    if not rows:
        raise ValueError(
            f"{file}: no rows of a whole system in it; such tables are filled by `embodkd reproduce resip`, and what a "
            "method came to is shown by `embodkd methods show SLUG`"
        )
    sections = [
        _stale(rows),
        _success(rows),
        _films(rows),
        _curves(rows),
        _corrections(rows),
        _cost(rows),
        _making(rows),
    ]
    facts = [f"{len(rows)} cells", f"{len({row['commit'] for row in rows})} versions of the code"]
    lead = "Every row is one command, judged on the same episodes as all others of its task."
    out = Path(out) if out is not None else file.with_suffix(".html")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page_of(escape(result["slug"]), facts, lead, sections))
    return out


def _groups(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """setting without its seed -> name of the cell -> rows of all seeds."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        place = ", ".join(str(row[key]).replace("_", " ") for key in row["setting"] if key != "seed")
        found.setdefault(place, {}).setdefault(_name(row), []).append(row)
    return found


def _name(row: Row) -> str:
    return str(row["cell"]).rpartition("/")[2]


def _success(rows: Sequence[Row]) -> str:
    cards = []
    for place, cells in _groups(rows).items():
        bars = []
        for name, group in cells.items():
            won, of = (sum(row[key] for row in group) for key in ("successes", "episodes"))
            each = ", ".join(f"{100 * row['success_rate']:.1f}{'*' if 'stale' in row else ''}" for row in group)
            stale = sum("stale" in row for row in group)
            colour = _COLOURS[list(cells).index(name) % len(_COLOURS)]
            hint = ", ".join(filter(None, [str(group[0].get("modality", "")), f"{stale} stale" if stale else ""]))
            bars.append(
                charts.bar(name, won / of, wilson(won, of), colour=colour, hint=hint, detail=f"by seed: {each}")
            )
        cards.append(f'<div class="card"><h3>{escape(place)}</h3>{"".join(bars)}</div>')
    note = "Bars pool the seeds; the whisker is Wilson’s 95 % interval over all their episodes, not over seeds."
    return section("Success", note, "".join(cards))


def _stale(rows: Sequence[Row]) -> str:
    lines = [[row["cell"], row["stale"]] for row in rows if "stale" in row]
    note = "Rows that came from something else than their command would give now; they are starred below."
    body = _table("Cell,Why", lines)
    return section(
        "Stale", note, f"<details><summary>{len(lines)} of {len(rows)} rows</summary>{body}</details>" if lines else ""
    )


def _films(rows: Sequence[Row]) -> str:
    files = {}
    for row in rows:
        run = next((word[4:] for word in shlex.split(row["command"]) if word.startswith("run=")), None)
        for film in sorted(Path(run, "videos").glob("*.mp4")) if run else ():
            files[f"{row['cell']}: {film.name}"] = film
    return film_section(files)


def _curves(rows: Sequence[Row]) -> str:
    plots = []
    for place, cells in _groups([row for row in rows if "curve" in row]).items():
        for name, group in cells.items():
            for column, label in ((0, "control steps"), (1, "minutes")):
                series = {f"seed {row['seed']}": [(p[column], p[2]) for p in row["curve"]] for row in group}
                svg = charts.curve(series, colour="--c1", x_label=label, share=True)
                plots.append(f'<div class="card plot"><h3>{escape(place)}: {escape(name)}</h3>{svg}</div>')
    note = "Success on fixed episodes while learning; the full line is the first seed."
    return section("Learning", note, f'<div class="grid wide">{"".join(plots)}</div>' if plots else "")


def _corrections(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        for phase, size in row.get("corrections", {}).items():
            lines.append(
                [row["cell"], phase, f"{size['mm']:.1f}", f"{size['degrees']:.1f}", f"{100 * size['share']:.0f} %"]
            )
    note = "Between the pose that the base asks for and the one that the sum does; and each phase’s share of all steps."
    return section("How far the residual moves its base", note, _table("Cell,Phase,mm,Degrees,Steps", lines))


def _cost(rows: Sequence[Row]) -> str:
    def line(row: Row) -> list[str]:
        steps, minutes = row["curve"][-1][0] if "curve" in row else None, row.get("minutes")
        return [
            row["cell"],
            "" if steps is None else f"{steps:,}",
            "" if minutes is None else f"{minutes:.1f}",
            f"{row['memory_mib']:,}" if "memory_mib" in row else "",
            f"{row['parameters']:,}" if "parameters" in row else "",
            f"{row['steps_to_success']}" if "steps_to_success" in row else "",
        ]

    head = "Cell,Control steps,Minutes,Memory (MiB),Parameters,Steps to success"
    note = "Of the cell alone, without those that it builds on. Memory is the most that its process held."
    return section("Cost", note, _table(head, [line(row) for row in rows]))


def _making(rows: Sequence[Row]) -> str:
    commands = "".join(f"<h3>{escape(row['cell'])}</h3><pre>{escape(row['command'])}</pre>" for row in rows)
    body = f'<div class="card"><details><summary>Commands</summary>{commands}</details></div>'
    return section(
        "How it was made", "Each command by itself; cells name the run folders of those that they need.", body
    )


def _table(head: str, lines: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head.split(","))
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="card scroll"><table><tr>{titles}</tr>{body}</table></div>' if lines else ""
