"""What several verbs share: where a policy lies, which task it is for, how many threads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.groups import Engine, Randomise, Task
from embodkd.core.runs.reading import read_json

if TYPE_CHECKING:
    from embodkd.core import RunFolder

Choice = Mapping[str, Any] | None
_HOW = ("threads", "cameras")  # keys of an engine that change how fast a task runs, not what it is


@dataclass(frozen=True, kw_only=True)
class WorldChoice:
    """The keys task, engine and randomise of a verb; None leaves each as a policy was made for. transfer: a policy may
    act in another world than its own."""

    task: Task | None = None
    engine: Engine | None = None
    randomise: Randomise | None = None
    transfer: bool = False

    def task_of(self, meta: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """(name, keywords of `make_task`): the task that a policy was made for, changed by what is chosen."""
        return task_of(meta, self.task, self.engine, self.randomise)


def policy_folder(path: str | Path) -> Path:
    """The policy folder meant by `path`: itself, or `policy/` inside a run folder."""
    path = Path(path)
    inside = path / "policy"
    return inside if not (path / "config.json").is_file() and (inside / "config.json").is_file() else path


def model_folder(path: str | Path) -> Path:
    """The classifier's folder meant by `path`: itself, or `model/` inside a run folder."""
    path = Path(path)
    inside = path / "model"
    return inside if (inside / "config.json").is_file() else path


def is_classifier(path: str | Path) -> bool:
    """Whether a classifier lies there, and not a policy."""
    file = model_folder(path) / "config.json"
    return file.is_file() and "model" in read_json(file, dict[str, Any])


def classifier_file(path: str | Path, part: str = "test") -> Path:
    """Where the evaluation of a classifier on a part of its data lies: in its run folder, or beside it."""
    where = model_folder(path)
    beside = where.parent if where.name == "model" else where
    return beside / ("evaluation.json" if part == "test" else f"evaluation_{part}.json")


def run_folder(path: str | Path) -> Path:
    """The run folder that a policy belongs to; a policy folder that lies alone is its own."""
    folder = policy_folder(path)
    return folder.parent if folder.name in ("policy", "policy_last") else folder


def task_options(task: Choice, engine: Choice, randomise: Choice) -> dict[str, Any]:
    """The groups task, engine and randomise of a config as keywords of `make_task`, what is not chosen left out."""
    options = {k: v for k, v in (task or {}).items() if k != "name"}
    if engine is not None:
        options |= {"engine": engine["name"], **{key: engine[key] for key in _HOW if key in engine}}
    if randomise is not None:
        # Zeros are the default: leaving them out keeps the protocols of two evaluations equal.
        options["randomise"] = {k: v for k, v in randomise.items() if v}
    return options


def task_of(meta: Mapping[str, Any], task: Choice, engine: Choice, randomise: Choice) -> tuple[str, dict[str, Any]]:
    """See WorldChoice.task_of; ValueError for a policy of a data set, if no task is chosen."""
    own = meta["task"]
    if not task and not simulated(own):
        raise ValueError(
            f"the policy was made from the data set {own.get('name')!r} and has no simulator: demos=... judges it on "
            "demonstrations, and task=... with transfer=true in a task that it was not made for"
        )
    name = task["name"] if task else own["name"]
    base = {"engine": own.get("engine", "mujoco"), **own.get("options", {})} if name == own["name"] else {}
    return name, {**base, **task_options(task, engine, randomise)}


def simulated(task: Mapping[str, Any]) -> bool:
    """Whether there is a simulator of a policy's or a dataset's task; one that names no engine has none."""
    from embodkd.envs import task_names

    return task.get("name") in task_names() and task.get("engine", "") is not None


def changed(meta: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> str:
    """What sets a judged task apart from the policy's own, as a part of a file name; "" if nothing does."""
    own = {"engine": meta["task"].get("engine"), **meta["task"].get("options", {})}
    parts = [] if name == meta["task"]["name"] else [name]
    for key, value in options.items():
        before = own.get(key)
        if key not in _HOW and (list(value) if isinstance(value, tuple) else value) != before:
            parts.append(f"{key}-{value}" if isinstance(value, (str, int, float)) else key)
    return "_".join(parts)


def use_threads(count: int) -> int:
    """Give torch `count` threads, 0 for one per core, let the process keep its memory; returns how many they are.

    Of several ranks on one machine each gets its part of the cores.
    """
    import torch

    from embodkd.core.runs.memory import keep_freed_memory

    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    torch.set_num_threads(count or max(1, len(os.sched_getaffinity(0)) // beside))
    keep_freed_memory()
    return torch.get_num_threads()


def too_busy() -> float | None:
    """The machine's load, if more wants to run than there are cores for, whatever this process did before."""
    load = os.getloadavg()[0]
    return load if load > len(os.sched_getaffinity(0)) + 0.5 else None


def threads_of(run: RunFolder, asked: int) -> int:
    """Torch's threads as the run began with them, set now and written into a new run: another number of them would give
    other bits. Where the machine chose them (`asked` is 0) and is busy, a line says what may be faster.

    On several processes, whose number changes the bits as well, each has its part of the cores.
    """
    import torch

    from embodkd.core.ranks import ranks

    now = torch.get_num_threads()
    if ranks().size > 1:
        return now
    began: int = run.before.get("torch_threads", now)
    if began != now:
        print(f"{run.path}: goes on with {began} threads of torch, as it began")
    elif not asked and began > 1 and (load := too_busy()):
        print(f"{run.path}: beware: the machine is busy (load {load:.1f}); torch_threads=1 may be faster")
    torch.set_num_threads(began)
    if "torch_threads" not in run.before:
        run.note(torch_threads=began)
    return began


def needed(value: Any, key: str, example: str) -> Any:
    """`value`, or a ValueError that asks for it."""
    if value is None:
        raise ValueError(f"{key} is missing; for example: {example}")
    return value


def without_name(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A group's choice as keywords of what it names."""
    return {k: v for k, v in choice.items() if k != "name"}
