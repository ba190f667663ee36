"""Success rates as a paper takes them: a table in LaTeX (booktabs), and the same as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from embodkd.evaluation.report.sections import Section, Setting

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
_HEAD = ("protocol", "setting", "success", "low", "high", "interquartile_mean", "seeds", "episodes")


def latex_table(sections: Sequence[Section]) -> str:
    """A `tabular` of all settings that were judged, one block per protocol; it needs booktabs."""
    lines = [r"\begin{tabular}{lrrrr}", r"\toprule", r"Setting & Success (\%) & 95\,\% interval & Seeds & Episodes \\"]
    for section in sections:
        lines += [r"\midrule", rf"\multicolumn{{5}}{{l}}{{{_tex(section.title)}}} \\"]
        for setting in section.judged:
            low, high = setting.interval
            cells = [
                _tex(setting.label), f"{100 * setting.rate:.1f}", f"[{100 * low:.1f}, {100 * high:.1f}]",
                str(len(setting.judged)), str(setting.episodes),
            ]  # fmt: skip
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def csv_table(sections: Sequence[Section]) -> str:
    """The same with more digits, shares between 0 and 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEAD)
    for section in sections:
        writer.writerows([section.title, *_row(setting)] for setting in section.judged)
    return text.getvalue().rstrip()


def _row(setting: Setting) -> list[str]:
    middle = setting.over.interquartile_mean if setting.over else None
    shares = [setting.rate, *setting.interval, middle]
    told = ["" if share is None else f"{share:.4f}" for share in shares]
    return [setting.label, *told, str(len(setting.judged)), str(setting.episodes)]


def _tex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
