"""What the command line costs where it only prints: CPU-seconds of help, completion and lists, torch not imported."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Contender, Line, median_interval, summary, take_turns

COMMAND = "python -m benchmarks cli"
PAGE = Path(tempfile.gettempdir(), "embodkd_report.html")
WORDS = {
    "embodkd --help": ["--help"],
    "completion": ["__complete", "train", "teacher", "task="],
    "embodkd methods": ["methods"],
    "embodkd report": ["report", "results/resip.json", f"out={PAGE}"],
}
# what the installed command runs, and then which of the heavy packages it pulled in
_HEAVY = (
    "import sys; from embodkd.cli import main; code = main({words!r}); "
    "sys.exit(code or str([m for m in ('torch', 'mujoco', 'hydra') if m in sys.modules]))"
)


def lines() -> list[Line]:
    """One line per command."""
    samples = take_turns({name: Contender(lambda words=words: _run(words)) for name, words in WORDS.items()})
    found = []
    for name, words in WORDS.items():
        value, interval = median_interval([sample.cpu for sample in samples[name]])
        imported = _imported(words)
        if "torch" in imported:
            raise RuntimeError(f"{name} imports torch")
        details = summary({name: samples[name]}, 1.0) | {"unit_of_rates": "calls", "heavy_imports": imported}
        found.append(Line(name, value, interval, "CPU-s", "<=", 0.4, COMMAND, details))
    return found


def _run(words: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "embodkd.cli", *words], check=True, capture_output=True)


def _imported(words: list[str]) -> str:
    child = subprocess.run([sys.executable, "-c", _HEAVY.format(words=words)], capture_output=True, text=True)
    return child.stderr.strip()
