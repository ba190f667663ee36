"""Every task on every robot and engine that it has, for the tests of what holds in all of them."""

from importlib.util import find_spec
from typing import get_args, get_type_hints

import embodkd.envs
import pytest
from embodkd.envs import task_names
from embodkd.envs.tasks.world_task import WorldTask


def _task(name: str) -> type[WorldTask]:
    import importlib

    module, attribute = embodkd.envs.TASKS[name]
    return getattr(importlib.import_module(module), attribute)


def _robots(kind: type[WorldTask], engine: str) -> tuple[str | None, ...]:
    named = get_args(get_type_hints(kind.__init__).get("robot"))
    return named[:1] if engine == "bullet" and named else named or (None,)


HAND = ("gymnasium_robotics", "hand")
NEEDS = {"bullet": ("pybullet", "bullet"), "hand_lift": HAND, "grasp": HAND}


def _param(name: str, engine: str, robot: str | None) -> object:
    missing = [extra for key, (package, extra) in NEEDS.items() if key in (name, engine) and not find_spec(package)]
    marks = pytest.mark.skipif(bool(missing), reason=f"needs the extra {missing}")
    options = {"engine": engine} | ({"robot": robot} if robot else {})
    return pytest.param(name, options, id="-".join(filter(None, (name, robot, engine))), marks=marks)


WORLDS = [
    _param(name, engine, robot)
    for name in task_names()
    for engine in _task(name).engines
    for robot in _robots(_task(name), engine)
]
every_world = pytest.mark.parametrize(("name", "options"), WORLDS)
# one task for each robot on each engine: what only the robot decides
ROBOTS = [param for param in WORLDS if param.values[0] in ("peg_hole", "pick_lift", "hand_lift", "peg_assembly")]
every_robot = pytest.mark.parametrize(("name", "options"), ROBOTS)
# how Gymnasium calls each task
IDS = {name: f"embodkd/{embodkd.envs.TASKS[name][1]}-v0" for name in task_names()}


def vectors(task):
    """The groups that are no pictures."""
    return tuple(name for name, group in task.spec.groups.items() if len(group.shape) == 1)
