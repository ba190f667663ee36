"""The report of a whole system's tables: one HTML file from the rows that `embodkd reproduce` stored."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embodkd.evaluation.interval import wilson
from embodkd.evaluation.report.causes import Failed, by_cause
from embodkd.evaluation.report.charts import curve
from embodkd.evaluation.report.members import stays_in
from embodkd.evaluation.report.page import films, write_page
from embodkd.evaluation.report.series import line
from embodkd.evaluation.stored import read_table

Row = Mapping[str, Any]
_MOST_POINTS = 300
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
    result = read_table(file) or {}
    rows = [row for table in result.get("tables", {}).values() for row in table]
    if not rows:
        raise ValueError(
            f"{file}: no rows of a whole system in it; such tables are filled by `embodkd reproduce resip`, and what a "
            "method came to is shown by `embodkd methods show SLUG`"
        )
    return write_page(
        Path(out) if out is not None else file.with_suffix(".html"),
        "tables.html",
        title=result["slug"],
        facts=[f"{len(rows)} cells", f"{len({row.get('commit') for row in rows})} versions of the code"],
        rows=rows,
        stale=[[row["cell"], row["stale"]] for row in rows if "stale" in row],
        success=_success(rows),
        causes=_causes(rows),
        films=films(_films(rows)),
        curves=_curves(rows),
        corrections=_corrections(rows),
        cost=_cost(rows),
    )


def _groups(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """setting without its seed -> name of the cell -> rows of all seeds."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        place = ", ".join(str(row[key]).replace("_", " ") for key in row["setting"] if key != "seed")
        found.setdefault(place, {}).setdefault(_name(row), []).append(row)
    return found


def _name(row: Row) -> str:
    return str(row["cell"]).rpartition("/")[2]


def _success(rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """setting -> a bar for each of its cells."""
    found: dict[str, list[dict[str, Any]]] = {}
    for place, cells in _groups(rows).items():
        for index, (name, group) in enumerate(cells.items()):
            won, of = (sum(row[key] for row in group) for key in ("successes", "episodes"))
            stale = sum("stale" in row for row in group)
            bar = {
                "name": name,
                "rate": won / of,
                "interval": wilson(won, of),
                "colour": _COLOURS[index % len(_COLOURS)],
                "hint": ", ".join(filter(None, [group[0].get("modality", ""), f"{stale} stale" if stale else ""])),
                "by_seed": [f"{100 * row['success_rate']:.1f}{'*' if 'stale' in row else ''}" for row in group],
            }
            found.setdefault(place, []).append(bar)
    return found


def _causes(rows: Sequence[Row]) -> dict[str, list[Failed]]:
    """setting -> why the episodes of each of its cells failed, as far as its rows say it."""
    return {
        place: by_cause(
            (name, [row["failures"] for row in told], sum(row["episodes"] for row in told))
            for name, group in cells.items()
            if (told := [row for row in group if "failures" in row])
        )
        for place, cells in _groups(rows).items()
    }


def _films(rows: Sequence[Row]) -> dict[str, Path]:
    """Those of the runs that the commands name, from below here alone: a table may be a stranger's."""
    files, here = {}, Path.cwd()
    for row in rows:
        run = next((word[4:] for word in shlex.split(row["command"]) if word.startswith("run=")), None)
        for film in sorted(Path(run, "videos").glob("*.mp4")) if run and stays_in(Path(run), [here]) else ():
            if film.name.startswith(".") or not stays_in(film, [Path(str(run))]):
                continue
            files[f"{row['cell']}: {film.name}"] = film
    return files


def _curves(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(title, SVG): each cell's success over control steps, and over minutes."""
    plots: list[tuple[str, str]] = []
    for place, cells in _groups([row for row in rows if "curve" in row]).items():
        for name, group in cells.items():
            for column, label in ((0, "control steps"), (1, "minutes")):
                seeds = [[(p[column], p[2]) for p in row["curve"]] for row in group]
                if one := line(name, "--c1", seeds, (0.0, 1.0), _MOST_POINTS):
                    svg = curve([one], title="success", x_label=label, y_label="share of episodes", share=True)
                    plots.append((f"{place}: {name}", svg))
    return plots


def _corrections(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [row["cell"], phase, f"{size['mm']:.1f}", f"{size['degrees']:.1f}", f"{100 * size['share']:.0f} %"]
        for row in rows
        for phase, size in row.get("corrections", {}).items()
    ]


def _cost(rows: Sequence[Row]) -> list[list[str]]:
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

    return [line(row) for row in rows]
