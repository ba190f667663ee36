"""Which of our changes to stable-baselines3's PPO matter on the dexterous hand: each switched off by itself.

    embodkd reproduce ppo_ablation jobs=2         # every training that is not stored yet
    python -m benchmarks.ppo_ablation             # what the stored ones come to

An arm is compared with `all`, our defaults, seed by seed, by the success of its best policy on 200 fresh episodes and
by the mean success of the evaluations during training, which also tells a slow arm from a fast one when both arrive.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from embodkd.evaluation.interval import t_interval
from embodkd.evaluation.tables.rows import Rows

RESULTS = Rows(Path("results/ppo_ablation.json"), "ppo_ablation")
MEASURES = {"success_rate": "success at the end", "mean_success": "success on the way"}


def learned(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the mean success of its evaluations, and the steps when one first was 50 % and 90 %."""
    if "curve" not in row:
        # stored before rows had their curve, with these numbers
        return dict(row)
    curve = [(step, share) for step, _, share in row["curve"]]
    first = {f"steps_to_{goal}": next((s for s, share in curve if 100 * share >= goal), None) for goal in (50, 90)}
    return {**row, "mean_success": mean(share for _, share in curve), **first}


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float, str]:
    """(mean of ours - theirs, low, high, verdict): Student's 95 % interval over paired seeds."""
    middle, low, high = t_interval([a - b for a, b in zip(ours, theirs, strict=True)])
    return middle, low, high, "helps" if low > 0 else "hurts" if high < 0 else "undecided"


def show() -> None:
    """Print a line per arm, then what the switched-off change adds: `all` less the arm, in percentage points."""
    rows: dict[str, dict[str, Any]] = {}
    for row in RESULTS.by_cell().values():
        rows.setdefault(row["arm"], {})[row["seed"]] = learned(row)
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


if __name__ == "__main__":
    show()
    sys.exit(0)
