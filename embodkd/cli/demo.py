"""`embodkd demo`: the whole way in five commands, each printed as it could be typed, and what came out of them."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from embodkd.core.config.ranges import Copies, Count, Episodes, EpisodeSeed

STUDY = (
    "embodkd train teacher -m seed=0,1,2 run=runs/teachers",
    "embodkd distill student teacher=runs/teachers run=runs/students",
)
"""Three teachers, and a student of each: what a claim takes, in two lines."""


def demo(
    run: str,
    seed: EpisodeSeed,
    steps: Count,
    num_envs: Copies,
    rounds: Count,
    episodes: Episodes,
    filmed: Episodes,
    fresh: bool,
) -> int:
    """Teacher, depth student, blind twin with the same budget, video, report; an interrupted demo goes on."""
    from embodkd.core.runs.files import remove_folder

    start = time.monotonic()
    if fresh and Path(run).exists():
        remove_folder(Path(run))
    for command in commands(run, seed, steps, num_envs, rounds, episodes, filmed):
        code = _carry_out(command)
        if code:
            return code
    _summary(run, (time.monotonic() - start) / 60)
    return 0


def commands(
    run: str, seed: int, steps: int, num_envs: int, rounds: int, episodes: int, filmed: int
) -> list[list[str]]:
    """The words of each command, in their order."""
    judged = [f"seed={seed}", f"episodes={episodes}", "resume=true"]
    budget = [
        f"teacher={run}/teacher",
        "method=dagger",
        f"method.rounds={rounds}",
        "method.epochs=2",
        f"num_envs={num_envs}",
        *judged,
    ]
    return [
        ["train", "teacher", "task=peg_hole", f"steps={steps}", *judged, f"run={run}/teacher"],
        ["distill", "student", "student=depth_cnn", *budget, f"run={run}/student"],
        ["distill", "student", "student=blind", *budget, f"run={run}/blind"],
        ["rollout", f"policy={run}/student", f"beside={run}/teacher", f"episodes={filmed}", f"out={run}/videos"],
        ["report", run],
    ]


def _carry_out(command: list[str]) -> int:
    from embodkd.cli import main

    print(f"\n$ {shlex.join(['embodkd', *command])}", flush=True)
    return main(command)


def _summary(run: str, minutes: float) -> None:
    from embodkd.evaluation import Evaluation

    print()
    for name, what in (("teacher", "knows the socket"), ("student", "depth camera"), ("blind", "no camera")):
        print(f"{name:<8} {what:<17} {Evaluation.load(Path(run) / name)}")
    print(f"\nreport: {run}/report.html   ({minutes:.1f} min)")
    print("\nThat was one seed; three of each, with an interval over seeds:")
    for line in STUDY:
        print(f"  {line}")
