"""Which of our changes to stable-baselines3's PPO matter on the dexterous hand: each switched off by itself.

    python -m benchmarks.ppo_ablation             # every training that is not stored yet
    python -m benchmarks.ppo_ablation all stock   # those whose name contains a word
    python -m benchmarks.ppo_ablation --jobs 2    # side by side, one torch thread each
    python -m benchmarks.ppo_ablation --show      # only the table

`stock` is all of them off, with its clipping, value weight and Adam epsilon too; the initial noise stays ours there.
Every arm has the same seeds and the same budget, which no target ends.  An arm is compared with `all`, our defaults,
seed by seed, by the success of its best policy on 200 fresh episodes and by the mean success of the evaluations
during training, which also tells a slow arm from a fast one when both arrive.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.cells import SEEDS, Cell, Table, arguments, call, judged
from embodkd.evaluation.interval import t_interval

RESULTS = Table(Path("results/ppo_ablation.json"))
RUNS = Path("runs/ppo_ablation")
STEPS = 300_000
ARMS = {
    "all": "",
    "kl_target": "ppo.kl_target=null",
    "critic_rate": "ppo.critic_rate=null",
    "orthogonal": "ppo.orthogonal=true",
    # max_grad_norm stays, so that one thing changes
    "split_clip": "ppo.split_clip=false",
    "batch_advantages": "ppo.batch_advantages=false",
    "normalise_values": "ppo.normalise_values=false",
    "init_std": "ppo.init_std=1.0",
    "stock": "ppo=stock",
}
MEASURES = {"success_rate": "success at the end", "mean_success": "success on the way"}


def cells() -> list[Cell]:
    """All trainings, the first seed of every arm before the others."""
    listed = []
    for seed in SEEDS:
        for arm, change in ARMS.items():
            run = RUNS / arm / str(seed)
            words = f"task=hand_lift task.object=box {change} steps={STEPS} target=null seed={seed} run={run}"
            listed.append(Cell(f"{arm}/{seed}", f"embodkd train teacher {' '.join(words.split())}", run))
    return listed


def finish(cell: Cell) -> dict[str, Any]:
    """Train a cell (resuming a half-done one) and return its row."""
    call(cell)
    lines = (cell.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return judged(cell) | learning([json.loads(line) for line in lines])


def learning(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """From lines of metrics: mean success of the evaluations, and the steps when one first was 50 % and 90 %."""
    curve = [(line["step"], line["evaluation/success"]) for line in lines if "evaluation/success" in line]
    first = {f"steps_to_{goal}": next((s for s, share in curve if 100 * share >= goal), None) for goal in (50, 90)}
    return {"mean_success": mean(share for _, share in curve), **first}


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float, str]:
    """(mean of ours - theirs, low, high, verdict): Student's 95 % interval over paired seeds."""
    middle, low, high = t_interval([a - b for a, b in zip(ours, theirs, strict=True)])
    return middle, low, high, "helps" if low > 0 else "hurts" if high < 0 else "undecided"


def show() -> None:
    """Print a line per arm, then what the switched-off change adds: `all` less the arm, in percentage points."""
    rows: dict[str, dict[str, Any]] = {arm: {} for arm in ARMS}
    for name, row in RESULTS.load().items():
        arm, seed = name.split("/")
        rows[arm][seed] = row
    print(f"{'off':18} {'success, %':>10} {'on the way':>10}   thousand steps to 50 % / 90 % by seed")
    for arm, by_seed in rows.items():
        if by_seed:
            shares = [f"{100 * mean(row[measure] for row in by_seed.values()):10.1f}" for measure in MEASURES]
            steps = "  ".join(
                f"{_thousands(row['steps_to_50'])}/{_thousands(row['steps_to_90'])}" for row in by_seed.values()
            )
            print(f"{arm:18} {shares[0]} {shares[1]}   {steps}")
    for measure, title in MEASURES.items():
        print(f"\n{title}: what the change adds, percentage points [95 %]")
        for arm, by_seed in rows.items():
            seeds = sorted(by_seed.keys() & rows["all"].keys())
            if arm != "all" and len(seeds) > 1:
                ours, theirs = ([rows[name][seed][measure] for seed in seeds] for name in ("all", arm))
                middle, low, high, verdict = difference(ours, theirs)
                print(f"{arm:18} {100 * middle:+6.1f} [{100 * low:+.1f}, {100 * high:+.1f}]  {verdict}")


def _thousands(steps: int | None) -> str:
    return "-" if steps is None else f"{steps / 1000:.0f}"


def main() -> int:
    """Run what is missing."""
    options = arguments(__doc__)
    if not options.show:
        failures = RESULTS.fill(RESULTS.missing(cells(), options.words), finish, options.jobs)
        if failures:
            print(f"{failures} trainings failed; call again to retry them", file=sys.stderr)
    show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
