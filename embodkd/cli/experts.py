"""The scripted experts of tasks, where a verb takes one in a policy's place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embodkd.envs import BatchTask

EXPERT = "expert"
"""What `policy=` says for it."""


def expert_of(world: BatchTask, noise: float) -> Any:
    """The expert that acts in `world`, unsteadier by `noise`; ValueError for a task that has none."""
    from embodkd.envs.tasks.assembly.expert import Expert
    from embodkd.envs.tasks.assembly.task import Assembly
    from embodkd.envs.tasks.grasp.script import Script
    from embodkd.envs.tasks.grasp.task import Grasp

    if isinstance(world, Assembly):
        return Expert(world, noise=noise)
    if isinstance(world, Grasp):
        return Script(world, noise=noise)
    raise ValueError(f"task {world.spec.name!r} has no scripted expert: say whose episodes, policy=runs/...")
