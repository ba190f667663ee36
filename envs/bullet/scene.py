"""What a Bullet scene is made of, and how a MuJoCo model is read as one: both engines then share every number."""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np
from embodkd.envs.geometry import matrix_from_quat, quat_from_matrix

KINDS = ("box", "cylinder", "capsule", "sphere")
Triple = tuple[float, float, float]
Quat = tuple[float, float, float, float]
_NO_TURN: Quat = (1.0, 0.0, 0.0, 0.0)
_MUJOCO_KINDS = {
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
    int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
}


@dataclass(frozen=True)
class Shape:
    """One of ``KINDS`` in its body's frame: centre (m), ``size`` as MuJoCo has it, colour in 0..1, turn (w, x, y, z).

    Sizes are half-lengths of a box; radius and half-height of a cylinder; radius and half-length, without its ends, of
    a capsule (both along z); radius of a sphere.  What is not ``solid`` is seen but never touched; ``group`` is for
    cameras that hide it.
    """

    name: str
    centre: Triple
    size: Triple
    rgb: Triple
    kind: str = "box"
    quat: Quat = _NO_TURN
    group: int = 0
    solid: bool = True


@dataclass(frozen=True)
class Joint:
    """How a body hangs on its ``parent`` (index in the scene): where its frame lies there, and what is left free.

    ``axis`` is in the body's own frame, None for a body held fast; the joint turns about it (rad) or, with ``slide``,
    moves along it (m).
    """

    parent: int
    position: Triple
    quat: Quat = _NO_TURN
    axis: Triple | None = None
    slide: bool = False
    limit: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Body:
    """A rigid body; without a ``joint`` it starts at ``place`` (m) and is loose, or stays if its ``mass`` (kg) is zero.

    ``inertia`` (kg m^2) is about the principal axes ``turn`` through the centre of mass ``centre``, both in the body's
    frame; a loose body has them at its origin.  Bullet multiplies the ``friction`` of two touching bodies; ``spin`` and
    ``roll`` (m) are the torques that resist turning and rolling on a contact, per newton.
    """

    name: str
    shapes: tuple[Shape, ...] = ()
    mass: float = 0.0
    inertia: Triple = (0.0, 0.0, 0.0)
    friction: float = 1.0
    weightless: bool = False
    centre: Triple = (0.0, 0.0, 0.0)
    turn: Quat = _NO_TURN
    joint: Joint | None = None
    spin: float = 0.0
    roll: float = 0.0
    place: Triple = (0.0, 0.0, 0.0)


def bodies_of(model: mujoco.MjModel) -> list[Body]:
    """The bodies of a model, with its indices; frictions as they are, which suits models where all are 1.

    Bullet knows no rotors: a joint's armature, and the damping that MuJoCo integrates implicitly, become inertia of the
    link about its own axis.
    """
    return [_body(model, index) for index in range(model.nbody)]


def heavier(body: Body, mass: float, inertia_33: np.ndarray) -> Body:
    """A body with more mass (kg) at its centre of mass and more inertia (kg m^2) about its frame's axes."""
    axes = matrix_from_quat(np.array(body.turn))
    values, vectors = np.linalg.eigh(axes @ np.diag(body.inertia) @ axes.T + inertia_33)
    vectors[:, 2] *= np.sign(np.linalg.det(vectors))
    quat = quat_from_matrix(vectors[None])[0]
    return replace(body, mass=body.mass + mass, inertia=_tuple(values), turn=_tuple(quat))


def _body(model: mujoco.MjModel, index: int) -> Body:
    first, count = int(model.body_geomadr[index]), int(model.body_geomnum[index])
    slides, spins, rolls = model.geom_friction[first] if count else (1.0, 0.0, 0.0)
    resists = count > 0 and model.geom_condim[first] == 6
    hangs = model.body_parentid[index] > 0
    loose = not hangs and model.body_jntnum[index] > 0
    body = Body(
        model.body(index).name,
        tuple(_shape(model, geom) for geom in range(first, first + count)),
        float(model.body_mass[index]) if hangs or loose else 0.0,
        _tuple(model.body_inertia[index]),
        float(slides),
        bool(model.body_gravcomp[index]),
        _tuple(model.body_ipos[index]),
        _tuple(model.body_iquat[index]),
        _joint(model, index) if hangs else None,
        float(spins) if resists else 0.0,
        float(rolls) if resists else 0.0,
        _tuple(model.body_pos[index]),
    )
    if body.joint is None or body.joint.axis is None:
        return body
    dof, axis = model.jnt_dofadr[model.body_jntadr[index]], body.joint.axis
    rotor = float(model.dof_armature[dof] + model.opt.timestep * model.dof_damping[dof])
    return (
        heavier(body, rotor, np.zeros((3, 3))) if body.joint.slide else heavier(body, 0.0, rotor * np.outer(axis, axis))
    )


def _shape(model: mujoco.MjModel, geom: int) -> Shape:
    return Shape(
        model.geom(geom).name,
        _tuple(model.geom_pos[geom]),
        _tuple(model.geom_size[geom]),
        _tuple(model.geom_rgba[geom, :3]),
        _MUJOCO_KINDS[int(model.geom_type[geom])],
        _tuple(model.geom_quat[geom]),
        int(model.geom_group[geom]),
        bool(model.geom_contype[geom] or model.geom_conaffinity[geom]),
    )


def _joint(model: mujoco.MjModel, index: int) -> Joint:
    place = int(model.body_parentid[index]), _tuple(model.body_pos[index]), _tuple(model.body_quat[index])
    if not model.body_jntnum[index]:
        return Joint(*place)
    joint = model.body_jntadr[index]
    slide = bool(model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE)
    return Joint(*place, _tuple(model.jnt_axis[joint]), slide, _tuple(model.jnt_range[joint]))


def _tuple(values: np.ndarray) -> tuple:
    return tuple(float(value) for value in values)
