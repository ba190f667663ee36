"""`embodkd rollout`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodkd.cli.common import needed, policy_folder, run_folder, task_of

Choice = Mapping[str, Any] | None


def rollout(
    policy: str | None,
    beside: str | None,
    episodes: int,
    seed: int,
    out: str | None,
    camera: str,
    task: Choice = None,
    engine: Choice = None,
    randomise: Choice = None,
) -> int:
    """Film one policy, or two side by side on the same episodes."""
    folder = policy_folder(needed(policy, "policy", "embodkd rollout policy=runs/depth_cnn_peg_hole"))

    from embodkd.evaluation import Actor
    from embodkd.evaluation.rollout import rollout as film
    from embodkd.policies import check_task, load_policy

    actor, meta = load_policy(folder)
    name, options = task_of(meta, task, engine, randomise)
    own = run_folder(folder).resolve()
    actors: dict[str, Actor] = {own.name: actor}
    if beside is not None:
        other = policy_folder(beside)
        second, record = load_policy(other)
        others = run_folder(other).resolve()
        if others == own:
            raise ValueError(f"beside={beside} is the same run as policy={policy}; name another one")
        mine, label = _apart(own, others)
        actors = {label: second, mine: actor}
        if record["task"]["name"] != name:
            raise ValueError(f"beside={beside}: was made for task {record['task']['name']!r}, not for {name!r}")

    from embodkd.envs import make_task

    world = make_task(name, len(actors), **options)
    try:
        check_task(actor, meta, world.spec, where=f"policy={policy}")
        target = Path(out) if out is not None else run_folder(folder) / "videos"
        made = film(actors, world, episodes=episodes, seed=seed, out=target, camera=camera)
    finally:
        world.close()
    for label in actors:
        print(f"{label}: {sum(s[label] for s in made.successes)} of {episodes} episodes succeeded")
    print(f"{made.path} ({made.frames} frames, {made.codec})")
    return 0


def _apart(one: Path, other: Path) -> tuple[str, str]:
    """The shortest ends of two different paths that tell them apart, such as student/0 and teacher/0."""
    for count in range(1, max(len(one.parts), len(other.parts))):
        ends = tuple("/".join(path.parts[-count:]) for path in (one, other))
        if ends[0] != ends[1]:
            return ends[0], ends[1]
    return str(one), str(other)
