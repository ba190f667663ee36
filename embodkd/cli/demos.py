"""`embodkd distill student demos=...`: a student from stored demonstrations, without a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import needed, policy_folder, use_threads, without_name
from embodkd.core.ranks import ranks

if TYPE_CHECKING:
    from embodkd.data.lerobot import Demonstrations


def distill_demos(
    run: str | None,
    seed: int,
    resume: bool,
    demos: str | list[str] | None,
    teacher: str | None,
    held_out: float,
    trainer: Mapping[str, Any],
    episodes: int,
    torch_threads: int,
    tracker: str | None,
    quiet: bool,
    student: Mapping[str, Any],
    method: Mapping[str, Any],
) -> int:
    """Imitate the dataset `demos`, or several together, keep the student in `run`/policy, judge it in the task that the
    first names, if it does."""
    config = {name: value for name, value in locals().items()}

    from embodkd.cli.evaluate import judge
    from embodkd.core import RunFolder, Trainer, seed_everything
    from embodkd.data.lerobot import about, read_dataset, together
    from embodkd.data.windows import chunks_of
    from embodkd.methods import make_method
    from embodkd.policies import ChunkPolicy, load_policy, make_policy, save_policy

    use_threads(torch_threads)
    given = needed(demos or None, "demos", "embodkd distill student demos=runs/demos_peg_assembly")
    folders = [demos_folder(path) for path in ([given] if isinstance(given, str) else given)]
    where = folders[0]
    made = make_method(method, "demonstrations")
    facts = about(where)
    seed_everything(seed)
    learner = make_policy(student["name"], facts.groups, facts.action_size, **without_name(student))
    if not isinstance(learner, ChunkPolicy):
        raise ValueError(f"student={student['name']} predicts no chunks of actions: choose diffusion or mlp_chunk")
    parts = [read_dataset(path, learner.reads) for path in folders]
    for path, part in zip(folders, parts, strict=True):
        _check_range(part, path)
    data = together(parts)
    chunks = chunks_of(
        data.frames,
        data.action_FA,
        data.lengths_E,
        horizon=learner.horizon,
        execute=learner.execute,
        held_out=held_out,
        seed=seed,
    )
    guide = None if teacher is None else load_policy(policy_folder(teacher))[0]
    recipe = made.recipe(learner, guide, chunks, seed=seed)
    task = {"name": where.name, "control_hz": facts.fps, **facts.task}
    if run is None:
        run = config["run"] = f"runs/{student['name']}_{task['name']}"
    print(f"{run}: {chunks.said}")
    with RunFolder.open(run, config, resume, tracker) as folder:
        summary = Trainer(folder, seed=seed, quiet=quiet, **trainer).fit(recipe)
        made_of = [_lineage(path, part) for path, part in zip(folders, parts, strict=True)]
        lineage = {"method": method["name"], "seed": seed, "demos": made_of[0] if len(made_of) == 1 else made_of}
        lineage["windows"] = {"train": chunks.train.size(), "held_out": chunks.held_out.size(), "said": chunks.said}
        ranks().first_does(lambda: save_policy(folder.path / "policy", learner.cpu(), task=task, lineage=lineage))
        # A run that was finished before measures nothing again.
        error = "".join(f", {k} {value:.4g}" for k, value in summary.last.items() if k.startswith("held_out/"))
        print(f"{run}: {summary.updates} updates in {summary.minutes:.1f} min{error}")
        if episodes and facts.task:
            print(f"{run}: {judge(folder.path / 'policy', episodes=episodes, seed=0, quiet=quiet)}")
        folder.finish(minutes=summary.minutes)
    return 0


def demos_folder(path: str | Path) -> Path:
    """The dataset meant by `path`: itself, or `demos/` inside the run folder that it was recorded into."""
    path = Path(path)
    inside = path / "demos"
    return inside if not (path / "meta").is_dir() and (inside / "meta").is_dir() else path


def _check_range(data: Demonstrations, where: Path) -> None:
    largest = abs(data.action_FA).max(initial=0.0)
    if largest > 1.0 + 1e-6:
        raise ValueError(
            f"{where}: its actions reach {largest:.4g}, a policy here acts within [-1, 1]; scale them when recording"
        )


def _lineage(where: Path, data: Demonstrations) -> dict[str, Any]:
    return {"dataset": str(where), "episodes": len(data.lengths_E), "frames": len(data.action_FA)}
