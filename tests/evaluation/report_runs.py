"""Run folders and studies as training leaves them, written by hand: what a report shows, and nothing trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from coin import Coin, guesser, knower, seer

from embodkd.evaluation import Episode, Evaluation, ablate, evaluate
from embodkd.evaluation.film import film


def a_run(
    folder: Path,
    won: int | None = 90,
    *,
    episodes: int = 100,
    task: str = "peg_hole",
    seed: int = 0,
    points: int = 50,
    reads: Mapping[str, bool] | None = None,
    options: Mapping[str, Any] | None = None,
    losses: Mapping[int, float] | None = None,
    **protocol: Any,
) -> Path:
    """One run of which `won` of `episodes` succeeded (None: not judged); `losses` replaces some of its losses.

    Which episodes are won depends on the seed, as luck would have it.
    """
    (folder / "policy").mkdir(parents=True)
    reads = {"proprio": False, "wrist_depth": False} if reads is None else reads
    groups = {name: {"shape": [7], "privileged": secret} for name, secret in reads.items()}
    (folder / "policy/config.json").write_text(json.dumps({"groups": groups, "lineage": {}}))
    (folder / "config.yaml").write_text(f"seed: {seed}\ntask: {{name: {task}}}\n")
    command = ["embodkd", "train", "teacher", f"task={task}", f"seed={seed}", f"run={folder.name}"]
    facts = {"command": command, "minutes": 1.5 + seed / 10, "seed": seed, "git_commit": "0123456789abcdef"}
    (folder / "manifest.json").write_text(json.dumps({**facts, "device": "cpu", "versions": {"mujoco": "4.0.0"}}))
    rows = [
        {
            "step": 1000 * n,
            "time_s": float(n),
            "train/value_loss": (losses or {}).get(n, math.exp(-3 * n / points) * (1.2 + 0.2 * math.sin(n + seed))),
            "evaluation/success": (won or 0) / episodes * (1 - math.exp(-4 * n / points)),
            "evaluation/return": 10.0 * n / points + seed,
        }
        for n in range(1, points + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if won is not None:
        wins = {(7 * k + 13 * seed) % episodes for k in range(won)} if math.gcd(7, episodes) == 1 else set(range(won))
        outcomes = tuple(Episode(n, n in wins, None if n in wins else "dropped", 1.0, 30) for n in range(episodes))
        judged = {"task": task, "engine": "mujoco", "options": {"randomness": "low", **(options or {})}}
        judged |= {"episodes": episodes, "seed": 0, **protocol}
        made = {"versions": {"mujoco": "4.0.0"}, "git_commit": "0123456789abcdef"}
        marks = {name: "privileged" if secret else "deployable" for name, secret in reads.items()}
        Evaluation(outcomes, judged, {**made, "reads": marks}).save(folder)
    return folder


def a_study(folder: Path, runs: Mapping[str, int | None], missing: tuple[str, ...] = (), **facts: Any) -> Path:
    """A study as Hydra's multirun leaves it: `runs` by their choices, "student=blind,seed=1", with what each won."""
    folder.mkdir(parents=True)
    (folder / "multirun.yaml").write_text("hydra: {}\n")
    for name in (*runs, *missing):
        words = name.split(",")
        (folder / ".multirun" / name).mkdir(parents=True)
        (folder / ".multirun" / name / "overrides.yaml").write_text(yaml.safe_dump([*words, "task=peg_hole"]))
        if name not in missing:
            chosen = dict(word.partition("=")[::2] for word in words)
            a_run(folder / name, runs[name], seed=int(chosen.get("seed", 0)), **facts)
    return folder


def a_demo(root: Path) -> Path:
    """A folder as `make demo` leaves it, on the coin task."""
    groups = {"teacher": ["privileged"], "student": ["proprio", "eye"], "blind": ["proprio"]}
    actors = {"teacher": knower(), "student": seer(), "blind": guesser()}
    for name, actor in actors.items():
        folder = root / name
        (folder / "policy").mkdir(parents=True)
        facts = {g: {"shape": [3], "privileged": g == "privileged"} for g in groups[name]}
        (folder / "policy" / "config.json").write_text(json.dumps({"groups": facts}))
        (folder / "config.yaml").write_text("task: coin\nnote: <b>not bold</b>\n")
        command = ["/somewhere/bin/embodkd", "train", "teacher", "task=coin"]
        (folder / "manifest.json").write_text(json.dumps({"command": command, "minutes": 1.5, "seed": 0}))
        rows = [{"step": 100 * n, "train/loss": 1 / n, "evaluation/success": 1 - 1 / n} for n in range(1, 900)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 90')
        evaluate(actor, Coin(50), episodes=100, quiet=True).save(folder)
    ablate(seer(), Coin(20), episodes=20, quiet=True).save(root / "student")
    film({"teacher": knower(), "student": seer()}, Coin(2), episodes=1, out=root / "videos" / "side.mp4")
    return root
