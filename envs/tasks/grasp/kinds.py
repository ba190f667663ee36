"""Classes of objects that numbers draw: what they are made of, and which of their parts to leave alone.

A class is a function of four numbers in [0, 1), which set its lengths (m).  Whatever has a part that is forbidden is
3 cm thick or more elsewhere, so that it can be grasped there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from embodkd.envs import draws
from embodkd.envs.tasks.grasp.solids import Solid, Thing, box, capsule, cylinder, sphere, wall_ring

Maker = Callable[[np.ndarray], list[Solid]]


def _from(low: float, high: float, share: float) -> float:
    return low + (high - low) * float(share)


def _box(u: np.ndarray) -> list[Solid]:
    return [box(_from(0.04, 0.06, u[0]), _from(0.04, 0.08, u[1]), _from(0.04, 0.08, u[2]))]


def _can(u: np.ndarray) -> list[Solid]:
    return [cylinder(_from(0.045, 0.065, u[0]), _from(0.05, 0.1, u[1]))]


def _bar(u: np.ndarray) -> list[Solid]:
    return [box(_from(0.03, 0.045, u[0]), _from(0.1, 0.14, u[1]), _from(0.03, 0.045, u[2]))]


def _ball(u: np.ndarray) -> list[Solid]:
    return [sphere(_from(0.045, 0.07, u[0]))]


def _bowl(u: np.ndarray) -> list[Solid]:
    width, height = _from(0.07, 0.09, u[0]), _from(0.035, 0.05, u[1])
    bottom = cylinder(0.96 * width, 0.008).at(0, 0, 0.004).called("bottom")
    return [*(wall.called("wall") for wall in wall_ring(5, width, height, 0.008)), bottom]


def _mug(u: np.ndarray) -> list[Solid]:
    width, height = _from(0.05, 0.065, u[0]), _from(0.06, 0.08, u[1])
    bottom = box(width, width, 0.008).at(0, 0, 0.004).called("bottom")
    reach = _from(0.015, 0.022, u[2])
    handle = box(reach, 0.012, 0.6 * height).at(width / 2 + reach / 2, 0, height / 2).called("handle", forbidden=True)
    return [*(wall.called("wall") for wall in wall_ring(4, width, height, 0.006)), bottom, handle]


def _pan(u: np.ndarray) -> list[Solid]:
    width, height, length = _from(0.06, 0.075, u[0]), _from(0.035, 0.045, u[1]), _from(0.06, 0.09, u[2])
    handle = capsule(0.014, length).turned("y", np.pi / 2).at(width / 2 + 0.4 * length, 0, height - 0.01)
    return [cylinder(width, height).at(0, 0, height / 2), handle.called("handle", forbidden=True)]


def _dumbbell(u: np.ndarray) -> list[Solid]:
    width, length, grip = _from(0.04, 0.055, u[0]), _from(0.09, 0.12, u[1]), _from(0.025, 0.035, u[2])
    end = (length - 0.03) / 2
    weights = [cylinder(width, 0.03).turned("x", np.pi / 2).at(0, side * end, 0).called("weight") for side in (-1, 1)]
    return [*weights, capsule(grip, length - 0.01).turned("x", np.pi / 2).called("grip")]


def _bottle(u: np.ndarray) -> list[Solid]:
    width, height = _from(0.045, 0.06, u[0]), _from(0.06, 0.075, u[1])
    neck, tall = _from(0.018, 0.025, u[2]), _from(0.02, 0.03, u[3])
    return [
        cylinder(width, height).at(0, 0, height / 2),
        cylinder(neck, tall).at(0, 0, height + tall / 2).called("neck", forbidden=True),
    ]


def _hammer(u: np.ndarray) -> list[Solid]:
    thick, length = _from(0.03, 0.036, u[0]), _from(0.09, 0.12, u[1])
    head = box(_from(0.07, 0.09, u[2]), 0.03, 0.035).at(0, length / 2, 0).called("head", forbidden=True)
    return [capsule(thick, length).turned("x", np.pi / 2).called("handle"), head]


def _corner(u: np.ndarray) -> list[Solid]:
    thick, one, other = _from(0.03, 0.04, u[0]), _from(0.07, 0.1, u[1]), _from(0.07, 0.1, u[2])
    return [box(thick, one, thick), box(other, thick, thick).at((other - thick) / 2, (one - thick) / 2, 0)]


def _car(u: np.ndarray) -> list[Solid]:
    length, wide, wheel = _from(0.08, 0.1, u[0]), _from(0.04, 0.05, u[1]), _from(0.02, 0.028, u[2])
    axles = [
        cylinder(wheel, wide + 0.008).turned("x", np.pi / 2).at(side * length / 3.5, 0, 0).called("wheels")
        for side in (-1, 1)
    ]
    cabin = box(0.5 * length, 0.9 * wide, 0.024).at(0, 0, 0.034).called("cabin")
    return [box(length, wide, 0.026).at(0, 0, 0.01), cabin, *axles]


def _ring(u: np.ndarray) -> list[Solid]:
    return [part.called("rim") for part in wall_ring(6, _from(0.07, 0.09, u[0]), _from(0.03, 0.045, u[1]), 0.014)]


def _camera(u: np.ndarray) -> list[Solid]:
    wide, deep, tall = _from(0.07, 0.09, u[0]), _from(0.035, 0.045, u[1]), _from(0.045, 0.06, u[2])
    lens = cylinder(0.035, 0.03).turned("x", np.pi / 2).at(0, deep / 2 + 0.012, 0)
    return [box(wide, deep, tall), lens.called("lens", forbidden=True)]


def _pyramid(u: np.ndarray) -> list[Solid]:
    width, step = _from(0.065, 0.08, u[0]), _from(0.018, 0.026, u[1])
    sides = [width, 0.72 * width, 0.44 * width]
    return [box(side, side, step).at(0, 0, (k + 0.5) * step).called("step") for k, side in enumerate(sides)]


def _dipper(u: np.ndarray) -> list[Solid]:
    width, height, length = _from(0.055, 0.07, u[0]), _from(0.035, 0.045, u[1]), _from(0.06, 0.09, u[2])
    bottom = box(width, width, 0.008).at(0, 0, 0.004).called("bottom")
    handle = capsule(0.014, length).turned("y", np.pi / 2 - 0.3).at(width / 2 + 0.42 * length, 0, height)
    walls = [wall.called("wall") for wall in wall_ring(4, width, height, 0.008)]
    return [*walls, bottom, handle.called("handle", forbidden=True)]


def _tee(u: np.ndarray) -> list[Solid]:
    thick, one, other = _from(0.03, 0.04, u[0]), _from(0.08, 0.11, u[1]), _from(0.05, 0.08, u[2])
    return [box(one, thick, thick), box(thick, other, thick).at(0, (other + thick) / 2 - 0.005, 0)]


SEEN: dict[str, Maker] = {
    "box": _box,
    "can": _can,
    "bar": _bar,
    "ball": _ball,
    "bowl": _bowl,
    "mug": _mug,
    "pan": _pan,
    "dumbbell": _dumbbell,
    "bottle": _bottle,
    "hammer": _hammer,
    "corner": _corner,
    "car": _car,
}
"""Classes whose members may be learned from."""
UNSEEN: dict[str, Maker] = {"ring": _ring, "camera": _camera, "pyramid": _pyramid, "dipper": _dipper, "tee": _tee}
"""Classes that are held out whole."""
EACH = {"seen": 25, "unseen": 12}  # members of each class
MASS = (0.05, 0.12)  # kg


def members(kinds: dict[str, Maker], each: int) -> Sequence[Thing]:
    """``each`` objects of every class, called "can_3": the same ones every time."""
    found = []
    for kind, make in kinds.items():
        drawn = draws.uniform(np.arange(each), f"grasp/{kind}", 5)
        for k, u in enumerate(drawn):
            found.append(Thing.of(f"{kind}_{k}", kind, make(u[:4]), _from(*MASS, u[4])))
    return found
