"""What several models made of the same things, side by side: a table whose columns are models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embodkd.evaluation.report.sections import Section, Setting
from embodkd.evaluation.samples.kept import Sample, Shown

_MOST_COLUMNS, _MOST_ROWS = 5, 24


@dataclass(frozen=True)
class Row:
    """What was asked, what there is, and what each column's model made of it, None of one that was not asked."""

    asked: Shown
    truth: Shown
    made: tuple[Sample | None, ...]


@dataclass(frozen=True)
class Beside:
    """about: how it was made; columns: title and colour of each model; more: sentences on what is left out."""

    about: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    more: tuple[str, ...]

    @property
    def has_truth(self) -> bool:
        """Whether it is known of anything what there is."""
        return any(row.truth != Shown() for row in self.rows)


def tables(section: Section) -> list[Beside]:
    """One for each way of asking: of every setting the first run that has samples, the first settings' only."""
    found: dict[str, list[Setting]] = {}
    for setting in section.settings:
        if (first := _first(setting)) and first[1]:
            found.setdefault(first[0], []).append(setting)
    return [_table(about, settings) for about, settings in found.items()]


def _first(setting: Setting) -> tuple[str, Sequence[Sample]] | None:
    """How the first of its runs that has samples was asked, and these."""
    return next(((run.samples.about, run.samples.rows) for run in setting.runs if run.samples), None)


def _table(about: str, settings: Sequence[Setting]) -> Beside:
    shown, rows = settings[:_MOST_COLUMNS], dict[tuple[Shown, Shown], list[Sample | None]]()
    columns = []
    for column, setting in enumerate(shown):
        run = next(run for run in setting.runs if run.samples)
        assert run.samples is not None, "has some"
        columns.append((setting.title(run), setting.colour))
        for sample in run.samples.rows:
            rows.setdefault((sample.asked, sample.truth), [None] * len(shown))[column] = sample
    more = []
    if left := len(settings) - len(shown):
        more.append(f"{left} other{'s' if left > 1 else ''} made samples, too: their own pages show them.")
    if (left := len(rows) - _MOST_ROWS) > 0:
        more.append(f"{left} more of what was asked {'lie' if left > 1 else 'lies'} in the runs' folders.")
    table = [Row(asked, truth, tuple(made)) for (asked, truth), made in list(rows.items())[:_MOST_ROWS]]
    return Beside(about, tuple(columns), tuple(table), tuple(more))
