"""`embodkd compare`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodkd.cli.common import is_classifier, needed, policy_folder, task_of, use_threads

Choice = Mapping[str, Any] | None


def compare(
    policy: str | None,
    against: str | None,
    margin: float,
    episodes: int,
    seed: int,
    copies: int,
    torch_threads: int,
    quiet: bool,
    task: Choice = None,
    engine: Choice = None,
    randomise: Choice = None,
) -> int:
    """Run both on the same episodes (a stored evaluation.json is taken as it is) and print the verdict."""
    from embodkd.cli.classifier import judge_model
    from embodkd.evaluation import Evaluation
    from embodkd.evaluation import compare as paired
    from embodkd.evaluation import evaluate as run
    from embodkd.policies import load_policy

    use_threads(torch_threads)
    example = "embodkd compare policy=runs/a against=runs/b"
    results: list[Evaluation] = []
    for key, value in (("policy", policy), ("against", against)):
        path = Path(needed(value, key, example))
        if path.suffix == ".json":
            results.append(Evaluation.load(path))
        elif is_classifier(path):
            results.append(judge_model(path))
        else:
            folder = policy_folder(path)
            actor, meta = load_policy(folder)
            name, options = task_of(meta, task, engine, randomise)
            settings: dict[str, Any] = {"episodes": episodes, "seed": seed, "copies": copies, "quiet": quiet}
            results.append(run(actor, name, options, policy_folder=folder, **settings))
        print(f"{path}: {results[-1]}")
    print(f"{policy} against {against}: {paired(results[0], results[1], margin)}")
    return 0
