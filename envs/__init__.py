"""Worlds: batched tasks and the doors that open onto them (Gymnasium, its vector environments, stable-baselines3)."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from embodkd.envs.spec import Group, TaskSpec
from embodkd.envs.stream import Stream, StreamStep
from embodkd.envs.task import BatchTask, TaskStep

__all__ = ["BatchTask", "Group", "Stream", "StreamStep", "TaskSpec", "TaskStep", "make_task", "task_names"]

# name -> module and class; a table, not imports, so that listing the tasks costs nothing
TASKS = {
    "peg_hole": ("embodkd.envs.tasks.peg_hole", "PegHole"),
    "pick_lift": ("embodkd.envs.tasks.pick_lift", "PickLift"),
    "hand_lift": ("embodkd.envs.tasks.hand_lift", "HandLift"),
    "grasp": ("embodkd.envs.tasks.grasp.task", "Grasp"),
    "peg_assembly": ("embodkd.envs.tasks.assembly.peg", "PegAssembly"),
    "one_leg_lite": ("embodkd.envs.tasks.assembly.one_leg", "OneLegLite"),
    "round_table_lite": ("embodkd.envs.tasks.assembly.round_table", "RoundTableLite"),
    "stack_lamp": ("embodkd.envs.tasks.assembly.stack_lamp", "StackLamp"),
    "mug_rack": ("embodkd.envs.tasks.assembly.mug_rack", "MugRack"),
}


def task_names() -> tuple[str, ...]:
    """The tasks that ``make_task`` knows."""
    return tuple(TASKS)


def make_task(
    name: str,
    num_envs: int = 1,
    *,
    engine: str = "mujoco",
    threads: int = 0,
    cameras: Literal["auto", "rays", "shapes"] = "auto",
    **options: Any,
) -> BatchTask:
    """Build ``num_envs`` copies of a task.

    ``options`` are the constructor's own (randomness, robot, reward, ...).  ``threads`` is the number of physics
    threads, 0 for one per core; results do not depend on it.  ``cameras`` see by a ray per pixel, by the shapes of
    what they show (beside edges, a byte in ten thousand differs by one), or (auto) by shapes for the kinds of picture
    that each camera names, ``Camera.shapes``, where all that it shows is simple, by rays otherwise.  Raises
    ``ValueError`` for an unknown task, engine or option, naming the nearest that exists.
    """
    from embodkd.core.config.schema import build

    task = build(task_class(name), options, f"task {name}", num_envs=num_envs, engine=engine, threads=threads)
    task.see(cameras)
    return task


def task_class(name: str) -> type[BatchTask]:
    """The class of a task, imported now; ``ValueError`` that names the nearest if there is no such."""
    from embodkd.core.config.registry import near

    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: {near(name, TASKS)}")
    module, attribute = TASKS[name]
    found: type[BatchTask] = getattr(importlib.import_module(module), attribute)
    return found


def register() -> None:
    """Register ``embodkd/PegHole-v0`` and its neighbours with Gymnasium; importing this package does it."""
    import gymnasium

    for name, (_, attribute) in TASKS.items():
        identifier = f"embodkd/{attribute}-v0"
        if identifier not in gymnasium.registry:
            gymnasium.register(
                identifier,
                entry_point="embodkd.envs.doors.gym:TaskEnv",
                vector_entry_point="embodkd.envs.doors.vector:TaskVectorEnv",
                kwargs={"task": name},
            )


register()
