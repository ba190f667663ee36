"""The cross-engine matrix: policies judged in the engine that they were trained in and in the other one.

    python -m benchmarks.transfer                # our own teachers and a student: those that are missing are trained
    python -m benchmarks.transfer RUN RUN        # any run folders
    python -m benchmarks.transfer --show         # only the table

Each judged policy is written to results/transfer.json at once: one row per policy and engine, with its commands.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from embodkd.core.runs.reading import read_json
from embodkd.evaluation.tables.fill import call
from embodkd.evaluation.tables.rows import Rows

RESULTS, RUNS = Path("results/transfer.json"), Path("runs/transfer")
ENGINES = ("mujoco", "bullet")
COMMANDS = {
    f"{task}-{engine}": f"train teacher task={task} engine={engine}"
    for task in ("peg_hole", "pick_lift")
    for engine in ENGINES
}
COMMANDS |= {
    f"peg_hole-{engine}-depth": f"distill student student=depth_cnn teacher={RUNS}/peg_hole-{engine}"
    for engine in ENGINES
}


def own() -> dict[Path, str]:
    """Our own policies, teachers before their students: run folder -> its command."""
    return {RUNS / name: f"{words} seed=0 run={RUNS / name}" for name, words in COMMANDS.items()}


def judge(run: Path, episodes: int) -> dict[str, dict[str, Any]]:
    """One row per engine, by name."""
    from embodkd.policies import load_policy

    from embodkd.cli.common import WorldChoice, policy_folder
    from embodkd.evaluation import transfer

    folder = policy_folder(run)
    policy, meta = load_policy(folder)
    task, options = WorldChoice().task_of(meta)
    home = options.pop("engine")
    trained = read_json(run / "manifest.json")["command"]
    matrix = transfer(
        {str(run): policy}, task, options, engines=ENGINES, episodes=episodes, quiet=True, folders={str(run): folder}
    )
    rows = {}
    for (_, engine), cell in matrix.cells.items():
        aloud = "" if engine == home else " transfer=true"
        found = {key: value for key, value in cell.as_dict().items() if key != "per_episode"}
        rows[f"{run.name} in {engine}"] = {
            "policy": str(run),
            "task": task,
            "trained_in": home,
            "judged_in": engine,
            "trained_by": shlex.join(["embodkd", *trained[1:]]),
            "command": f"embodkd evaluate policy={run} engine={engine} episodes={episodes}{aloud}",
            **found,
            "commit": found["manifest"]["git_commit"],
        }
    return rows


def show(table: Rows) -> None:
    """Print the stored matrix: a line per policy, its own engine starred."""
    rows: dict[str, dict[str, Any]] = {}
    for row in table.by_cell().values():
        rows.setdefault(row["policy"], {})[row["judged_in"]] = row
    print(f"{'policy (* where it was trained)':40}" + "".join(f"{'judged in ' + engine:>28}" for engine in ENGINES))
    for policy, judged in rows.items():
        line = f"{policy:40}"
        for engine in ENGINES:
            row = judged[engine]
            low, high = (100 * limit for limit in row["ci95"])
            star = "*" if row["trained_in"] == engine else " "
            share = f"{100 * row['success_rate']:.1f} % ({low:.1f} to {high:.1f}){star}"
            line += f"{share:>28}"
        print(line)


def main() -> int:
    """Train what is missing, judge, store, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders; default: our own policies")
    parser.add_argument("--episodes", type=int, default=200, help="of each cell, on seeds 0 and up")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the matrix is kept")
    parser.add_argument("--show", action="store_true", help="print the stored matrix and stop")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    table = Rows(arguments.out, "transfer")
    if not arguments.show:
        ours = {} if arguments.runs else own()
        for run in arguments.runs or ours:
            if run in ours and not (run / "evaluation.json").exists():
                again = ["resume=true"] if run.exists() else []
                call([*shlex.split(ours[run]), "torch_threads=1", "quiet=true", *again])
            for name, row in judge(run, arguments.episodes).items():
                table.put("matrix", {"cell": name, "setting": ["task", "judged_in"], **row})
    show(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
