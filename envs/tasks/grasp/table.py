"""Objects as rows of MuJoCo's own fields: what a model compiled with each of them alone would hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import mujoco
import numpy as np
from embodkd.envs.tasks.grasp.solids import SLOTS, Solid, Thing

GEOM_FIELDS = ("geom_type", "geom_dataid", "geom_size", "geom_pos", "geom_quat", "geom_aabb", "geom_rbound")
TOUCH_FIELDS = ("geom_contype", "geom_conaffinity")
BODY_FIELDS = ("body_mass", "body_inertia", "body_iquat")
LEAST_INERTIA = 1e-5  # kg m^2: thinner things make a free body's arithmetic stiff
_UNUSED = 1e-6  # m: radius of a slot that holds nothing; it hides in the first solid
Table = dict[str, np.ndarray]
"""Field -> its rows: (M, SLOTS, ...) of geoms, (M, ...) of the body.  An object's frame has the axes of its solids and
lies at its centre of mass, which is the ``centre`` (M, 3) in what the solids are given in."""


def hulls(things: Sequence[Thing]) -> Iterator[tuple[str, Solid]]:
    """The hulls of some objects with the names of their meshes, in the order in which models number them."""
    for thing in things:
        for k, solid in enumerate(thing.solids):
            if solid.kind == "hull":
                yield f"{thing.name}/{k}", solid


def add_hulls(spec: mujoco.MjSpec, things: Sequence[Thing]) -> None:
    """Give a model the meshes of all hulls, so that a geom can take any of them."""
    for name, solid in hulls(things):
        spec.add_mesh(name=name, uservert=solid.corners.ravel(), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)


def add_solids(body: mujoco.MjsBody, thing: Thing) -> None:
    """The solids of an object as geoms of a body, which weigh what the object weighs."""
    for k, solid in enumerate(thing.solids):
        geom = body.add_geom(name=f"{thing.name}/{k}", type=solid.geom_type, pos=solid.position, quat=solid.quat)
        if solid.kind == "hull":
            geom.meshname = f"{thing.name}/{k}"
        else:
            geom.size = solid.size


def compiled(things: Sequence[Thing]) -> Table:
    """The rows of these objects."""
    spec = mujoco.MjSpec()
    add_hulls(spec, things)
    for thing in things:
        body = spec.worldbody.add_body(name=thing.name)
        body.add_freejoint()
        add_solids(body, thing)
    model = spec.compile()
    table = {field: _rows(model, field, things) for field in (*GEOM_FIELDS, *TOUCH_FIELDS)}
    bodies = [model.body(thing.name).id for thing in things]
    mass = np.array([thing.mass for thing in things])
    inertia = model.body_inertia[bodies] * (mass / model.body_mass[bodies])[:, None]
    table["body_mass"], table["body_iquat"] = mass, model.body_iquat[bodies].copy()
    table["body_inertia"] = np.maximum(inertia, LEAST_INERTIA)
    table["centre"] = model.body_ipos[bodies].copy()
    table["geom_pos"] -= table["centre"][:, None]
    for row, thing in enumerate(things):
        _leave_empty(table, row, len(thing.solids))
    return table


def _rows(model: mujoco.MjModel, field: str, things: Sequence[Thing]) -> np.ndarray:
    values = getattr(model, field)
    rows = np.zeros((len(things), SLOTS, *values.shape[1:]), values.dtype)
    for row, thing in enumerate(things):
        first, count = model.geom(f"{thing.name}/0").id, len(thing.solids)
        rows[row, :count] = values[first : first + count]
    return rows


def _leave_empty(table: Table, row: int, used: int) -> None:
    """The slots from ``used`` on: specks within the first solid, that touch nothing and that nobody sees."""
    inner = table["geom_pos"][row, 0]
    for name, value in {
        "geom_type": int(mujoco.mjtGeom.mjGEOM_SPHERE),
        "geom_dataid": -1,
        "geom_size": [_UNUSED, 0.0, 0.0],
        "geom_pos": inner,
        "geom_quat": [1.0, 0.0, 0.0, 0.0],
        "geom_aabb": [0.0, 0.0, 0.0, _UNUSED, _UNUSED, _UNUSED],
        "geom_rbound": _UNUSED,
        "geom_contype": 0,
        "geom_conaffinity": 0,
    }.items():
        table[name][row, used:] = value
