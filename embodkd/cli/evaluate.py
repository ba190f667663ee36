"""`embodkd evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodkd.cli.common import changed, is_classifier, needed, policy_folder, run_folder, task_of, use_threads
from embodkd.core.ranks import ranks

Choice = Mapping[str, Any] | None


def judge(
    policy: str | Path,
    *,
    episodes: int,
    seed: int,
    copies: int = 64,
    out: str | Path | None = None,
    task: Choice = None,
    engine: Choice = None,
    randomise: Choice = None,
    quiet: bool = False,
) -> Any:
    """Evaluate a saved policy and write the result beside it; returns the Evaluation."""
    from embodkd.evaluation import evaluate as run
    from embodkd.policies import load_policy

    folder = policy_folder(policy)
    actor, meta = load_policy(folder)
    name, options = task_of(meta, task, engine, randomise)
    result = run(actor, name, options, episodes=episodes, seed=seed, copies=copies, policy_folder=folder, quiet=quiet)
    if out is None:
        other = changed(meta, name, options)
        out = run_folder(folder) / (f"evaluation_{other}.json" if other else "evaluation.json")
    ranks().first_does(lambda: result.save(out))
    return result


def evaluate(
    policy: str | None,
    episodes: int,
    seed: int,
    copies: int,
    out: str | None,
    part: str,
    ablate: bool,
    probe: bool,
    torch_threads: int,
    quiet: bool,
    task: Choice = None,
    engine: Choice = None,
    randomise: Choice = None,
) -> int:
    """Judge one policy. The exit code is 1 if the leak probe finds that it uses privileged groups undeclared."""
    use_threads(torch_threads)
    where = needed(policy, "policy", "embodkd evaluate policy=runs/student_peg_hole")
    if is_classifier(where):
        if task or engine or randomise or ablate or probe:
            raise ValueError(f"{where} is a classifier: task, engine, randomise, ablate and probe are for policies")
        return _classifier(where, part, out)
    folder = policy_folder(where)
    chosen = {"task": task, "engine": engine, "randomise": randomise}
    result = judge(folder, episodes=episodes, seed=seed, copies=copies, out=out, quiet=quiet, **chosen)
    print(f"{folder}: {result}")
    for reason, count in result.failures.items():
        print(f"  {reason}: {count}")
    if not (ablate or probe):
        return 0
    return _look_closer(folder, chosen, episodes if ablate else 0, seed, copies, probe, quiet)


def _classifier(folder: str, part: str, out: str | None) -> int:
    from embodkd.cli.classifier import judge_model

    result = judge_model(folder, part, out)
    print(f"{folder}: {result}")
    for name, value in result.manifest["measures"].items():
        print(f"  {name}: {value:.4g}")
    return 0


def _look_closer(
    folder: Path, chosen: dict[str, Choice], ablated: int, seed: int, copies: int, probe: bool, quiet: bool
) -> int:
    from embodkd.envs import make_task
    from embodkd.evaluation import ablate, probe_leak
    from embodkd.policies import load_policy

    actor, meta = load_policy(folder)
    name, options = task_of(meta, **chosen)
    world = make_task(name, min(copies, ablated or copies), **options)
    try:
        if ablated:
            ablation = ablate(actor, world, episodes=ablated, seed=seed, quiet=quiet)
            ranks().first_does(lambda: ablation.save(run_folder(folder)))
            print(ablation)
        leaks: tuple[str, ...] = ()
        if probe:
            found = probe_leak(actor, world, seed=seed)
            declared = {name for name, group in meta["groups"].items() if group["privileged"]}
            leaks = tuple(name for name in found.leaks if name not in declared)
            said = f"its actions depend on {', '.join(leaks)}" if leaks else "nothing privileged reaches its actions"
            print(f"leak probe: {said}")
            for group in found.ignored:
                print(f"leak probe: {group} is read but changes nothing")
    finally:
        world.close()
    return 1 if leaks else 0
