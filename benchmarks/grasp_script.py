"""The search for the numbers of Grasp's script, by the cross-entropy method on objects of the split ``seen``.

It prints the numbers to be written into `envs/tasks/grasp/script.py`, and how often they succeed in every split.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from embodkd.envs import make_task
from embodkd.envs.tasks.grasp.script import FOUND, SPREAD, START, Numbers, grasp

EACH, BEST = 16, 6  # episodes of a candidate, candidates that are kept


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grasp_script", description=__doc__)
    parser.add_argument("--candidates", type=int, default=24, help="in each round")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--again", action="store_true", help="begin at the numbers that were found last")
    parser.add_argument("--only-judge", action="store_true", help="judge the numbers that were found last")
    how = parser.parse_args()
    found = FOUND if how.only_judge else searched(how.candidates, how.rounds, FOUND if how.again else START)
    print(f"FOUND = Numbers({', '.join(f'{value:.4f}' for value in found)})")
    for split in ("seen", "unseen_size", "unseen_class"):
        success, count, parts = judged(found, split)
        print(f"{split}: {success} of {count}; {parts}", flush=True)


def searched(candidates: int, rounds: int, start: Numbers) -> Numbers:
    """The mean of the last round's best."""
    task = make_task("grasp", candidates * EACH, threads=1)
    mean, spread = np.array(start), np.array(SPREAD) * (1.0 if start is START else 0.3)
    draw = np.random.default_rng(0)
    for round_ in range(rounds):
        tried = mean + spread * draw.normal(size=(candidates, len(mean)))
        tried[0], tried[:, -1] = mean, np.clip(tried[:, -1], 0.03, 1)
        # all candidates meet the same episodes, other ones in each round
        task.reset(np.tile(1_000_000 + round_ * EACH + np.arange(EACH), candidates))
        score, success = played(task, np.repeat(tried, EACH, axis=0))
        score = score.reshape(candidates, EACH).mean(axis=1)
        best = tried[np.argsort(-score)[:BEST]]
        mean, spread = 0.3 * mean + 0.7 * best.mean(axis=0), 0.3 * spread + 0.7 * best.std(axis=0)
        share = success.reshape(candidates, EACH).mean(axis=1)
        print(f"{round_}: {np.round(mean, 4).tolist()}")
        print(f"{round_}: mean {share.mean():.2f}, best {share.max():.2f}, score {score.max():.2f}", flush=True)
    return Numbers(*mean.tolist())


def played(task: Any, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score and success of one episode in each copy, with the numbers (N, 14) of each."""
    score = np.zeros(task.num_envs)
    for _ in range(task.spec.max_steps):
        step = task.step(grasp(task, Numbers(*numbers.T)))
        score = np.maximum(score, np.clip(task.height_N, 0, 0.1) / 0.1)
    away = np.linalg.norm(task.target_N3 - task.world.position("object"), axis=1)
    success = step.info["is_success"]
    return score + np.exp(-away / 0.05) + 2.0 * success, success


def judged(numbers: Numbers, split: str, count: int = 300) -> tuple[int, int, str]:
    """Successes, episodes, and the shares by failure and class in words."""
    task = make_task("grasp", count, split=split, threads=1)
    task.reset(np.arange(count))
    for _ in range(task.spec.max_steps):
        step = task.step(grasp(task, numbers))
    kinds = np.array([task.library.things[which].kind for which in task.which_N])
    success, failure = step.info["is_success"], step.info["failure"]
    words = [f"{name} {np.sum(failure == k)}" for k, name in enumerate(task.failures) if k]
    words += [f"{kind} {success[kinds == kind].mean():.2f}" for kind in dict.fromkeys(sorted(kinds))]
    top = task._rest_N
    for low, high in ((0.0, 0.02), (0.02, 0.03), (0.03, 1.0)):
        some = (top >= low) & (top < high)
        words.append(f"rest {low}-{high} m: {success[some].sum()}/{some.sum()}")
    return int(success.sum()), count, ", ".join(words)


if __name__ == "__main__":
    main()
