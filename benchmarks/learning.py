"""The learning table of the README: teachers, students, blind twins and spoiled sensors, one command per cell.

    python -m benchmarks.learning                 # every cell that is not stored yet
    python -m benchmarks.learning peg_hole        # those whose name contains a word
    python -m benchmarks.learning --jobs 2        # side by side, one torch thread each
    python -m benchmarks.learning --show          # only the table

Each finished cell is written to results/learning.json at once, with its command; a second call continues.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import cells as table
from benchmarks.cells import SEEDS, Table, arguments, call, judged
from embodkd.core.runs.files import read_json

RESULTS = Table(Path("results/learning.json"))
RUNS = Path("runs/learning")


@dataclass(frozen=True)
class Cell(table.Cell):
    """`after` is the cell whose policy this one needs.

    A cell trains a policy in the folder `run`, or spoils the sensors of one that is there (`sensors`).
    """

    after: str | None = None
    sensors: bool = False


TEACHERS = {
    "peg_hole-low": "task=peg_hole task.randomness=low",
    "peg_hole-medium": "task=peg_hole task.randomness=medium",
    "peg_hole-high": "task=peg_hole task.randomness=high",
    "pick_lift": "task=pick_lift",
    "hand_lift-box": "task=hand_lift task.object=box",
    "hand_lift-cylinder": "task=hand_lift task.object=cylinder",
    "hand_lift-high": "task=hand_lift task.object=box task.randomness=high",
}
STUDENTS = {
    "peg_hole-medium": ("depth_cnn", "rgb_cnn", "pointnet", "front_depth", "blind"),
    "peg_hole-high": ("depth_cnn", "rgb_cnn", "pointnet", "blind"),
    "pick_lift": ("depth_cnn", "rgb_cnn", "pointnet", "blind"),
    "hand_lift-box": ("depth_cnn", "blind"),
    # within 4 cm a blind hand finds the box by feel nearly always, within 12 cm less often
    "hand_lift-high": ("depth_cnn", "blind"),
}
# more layers and updates for points where places stray further or objects differ
_WIDER = "student=pointnet student.widths=[64,128] method.batch_size=128 method.epochs=6"
STUDENT_OPTIONS = {
    # the fixed camera alone, whatever it gives
    "peg_hole-medium/front_depth": "student=depth_cnn student.cameras=[front_depth]",
    "peg_hole-high/pointnet": _WIDER,
    "pick_lift/pointnet": _WIDER,
}


def cells() -> list[Cell]:
    """All cells, teachers first, the first seed before the others."""
    listed: list[Cell] = []
    for seed in SEEDS:
        for task, options in TEACHERS.items():
            name = f"teacher/{task}/{seed}"
            run = RUNS / name
            listed.append(Cell(name, f"embodkd train teacher {options} seed={seed} run={run}", run))
    for seed in SEEDS:
        for task, students in STUDENTS.items():
            teacher = f"teacher/{task}/{seed}"
            for student in students:
                name = f"student/{task}/{student}/{seed}"
                run = RUNS / name
                chosen = STUDENT_OPTIONS.get(f"{task}/{student}", f"student={student}")
                command = f"embodkd distill student {chosen} teacher={RUNS / teacher} seed={seed} run={run}"
                listed.append(Cell(name, command, run, after=teacher))
                if student != "blind" and seed == SEEDS[0]:
                    command = f"embodkd evaluate policy={run} ablate=true probe=true episodes=100 out={run}/intact.json"
                    listed.append(Cell(f"sensors/{task}/{student}/{seed}", command, run, after=name, sensors=True))
    return listed


def finish(cell: Cell) -> dict[str, Any]:
    """Run a cell (resuming a half-done one) and return its row."""
    call(cell, resume=not cell.sensors)
    if not cell.sensors:
        return judged(cell)
    ablation = read_json(cell.run / "ablation.json")
    commit = ablation.pop("manifest")["git_commit"]
    return {**ablation, "leak": False, "commit": commit, "command": cell.command}


def show() -> None:
    """Print one line per setting: successes of all seeds, minutes; then what each student loses with a sensor."""
    groups: dict[str, list[dict[str, Any]]] = {}
    results = RESULTS.load()
    spoiled = {name: row for name, row in results.items() if "rows" in row}
    for name, row in results.items():
        if name in spoiled:
            continue
        groups.setdefault(name.rsplit("/", 1)[0], []).append(row)
    print(f"{'setting':44} {'success by seed, %':24} minutes")
    for name, rows in groups.items():
        shares = "  ".join(f"{100 * row['success_rate']:5.1f}" for row in rows)
        minutes = " ".join(f"{row['minutes']:.1f}" for row in rows if row["minutes"] is not None)
        print(f"{name:44} {shares:24} {minutes}")
    for name, row in spoiled.items():
        print(f"{name}: {100 * row['intact']['success_rate']:.0f} % with all sensors")
        for spoilt in row["rows"]:
            print(f"  {spoilt['group']} {spoilt['way']}: {100 * spoilt['success_rate']:.0f} %  {spoilt['verdict']}")


def main() -> int:
    """Run what is missing."""
    options = arguments(__doc__)
    if not options.show:
        todo = RESULTS.missing(cells(), options.words)
        known = {c.name: c for c in cells()}
        for cell in todo:  # grows while it is read
            # a stored teacher whose run folder is gone (another checkout) is trained again
            before = known.get(cell.after or "")
            if before is not None and before not in todo and not (before.run / "policy").exists():
                todo.append(before)
        failures = 0
        for kind in ("teacher/", "student/", "sensors/"):
            failures += RESULTS.fill([c for c in todo if c.name.startswith(kind)], finish, options.jobs)
        if failures:
            print(f"{failures} cells failed; call again to retry them", file=sys.stderr)
    show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
