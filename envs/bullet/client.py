"""One copy of a scene in Bullet: the calls, and nothing that outlives a control period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import numpy as np
from embodkd.envs.bullet.scene import KINDS, Body

# N/m and Ns/m of each body: contacts yield by tenths of a millimetre, as MuJoCo's do; rigid ones jam a tight peg
CONTACT = (2e4, 200.0)
# Bullet keeps the shape of a body that was removed, some 4 KiB, for as long as the connection lasts: then a new one
MOST_SHAPES = 256
_STATIC, _MOVING = (2, ~2), (1, -1)  # Bullet's own filter group and mask for bodies that never and that may move


class Client:
    """A connection of its own.  Bodies with a joint are links of the body without one before them."""

    def __init__(self, bodies: Sequence[Body], timestep: float) -> None:
        self._p, self._bodies, self._timestep = pybullet(), list(bodies), timestep
        self._last = [(KINDS.index(shape.kind), shape.size) for shape in bodies[-1].shapes]
        self._open()

    def _open(self) -> None:
        bodies, self._shapes_kept = self._bodies, 0
        self.id = self._p.connect(self._p.DIRECT)
        self._p.setPhysicsEngineParameter(
            fixedTimeStep=self._timestep, numSubSteps=0, deterministicOverlappingPairs=1, physicsClientId=self.id
        )
        # body -> Bullet's number of the whole and of the link in it (-1: the whole's root)
        self.at: list[tuple[int, int]] = []
        roots = [index for index, body in enumerate(bodies) if body.joint is None]
        for root, after in zip(roots, [*roots[1:], len(bodies)], strict=True):
            self._add(root, bodies[root:after])
        moving = [self.at[i] for i, body in enumerate(bodies) if body.joint is not None and body.joint.axis is not None]
        assert len({tree for tree, _ in moving}) <= 1, "one body with joints is all that a scene may have"
        self._tree, self._joints = (moving[0][0] if moving else -1), [link for _, link in moving]
        self._touching = [
            i for i, body in enumerate(bodies) if body.joint is not None and any(shape.solid for shape in body.shapes)
        ]

    def shape(self, kind_G: np.ndarray, size_G3: np.ndarray) -> None:
        """Give the last body, if it is of one shape, another one: it is built anew, now and then with all the others.

        Parameters and places are the caller's to write again.
        """
        if len(self._last) != 1 or self._last == [(kind_G[-1], tuple(size_G3[-1]))]:
            return
        self._last = [(int(kind_G[-1]), tuple(size_G3[-1]))]
        body = self._bodies[-1]
        (old,) = body.shapes
        new = replace(old, kind=KINDS[self._last[0][0]], size=self._last[0][1])
        self._bodies[-1] = replace(body, shapes=(new,))
        if self._shapes_kept == MOST_SHAPES:
            self.close()
            self._open()
            return
        number, _ = self.at.pop()
        self._p.removeBody(number, physicsClientId=self.id)
        self._add(len(self._bodies) - 1, self._bodies[-1:])
        self._shapes_kept += 1

    def parameters(self, mass_B: np.ndarray, inertia_B3: np.ndarray, friction_B: np.ndarray) -> None:
        """Masses (kg), inertias (kg m^2) and frictions of all bodies."""
        for index, body in enumerate(self._bodies):
            ratio = friction_B[index] / body.friction
            self._p.changeDynamics(
                *self.at[index],
                mass=mass_B[index],
                localInertiaDiagonal=inertia_B3[index],
                lateralFriction=friction_B[index],
                spinningFriction=ratio * body.spin,
                rollingFriction=ratio * body.roll,
                physicsClientId=self.id,
            )

    def put(
        self,
        bodies: Sequence[int],
        position_B3: np.ndarray,
        quat_B4: np.ndarray,
        velocity_B6: np.ndarray,
        joint_J: np.ndarray,
        speed_J: np.ndarray,
    ) -> None:
        """Put ``bodies``, which have no joint, and all joints where these rows say, as if nothing had touched."""
        p, client = self._p, self.id
        for body in bodies:
            w, x, y, z = quat_B4[body]
            number = self.at[body][0]
            p.resetBasePositionAndOrientation(number, position_B3[body], [x, y, z, w], physicsClientId=client)
            p.resetBaseVelocity(number, velocity_B6[body, :3], velocity_B6[body, 3:], physicsClientId=client)
        if self._joints:
            values, speeds = joint_J[:, None].tolist(), speed_J[:, None].tolist()
            p.resetJointStatesMultiDof(self._tree, self._joints, values, speeds, physicsClientId=client)
        for body in (*bodies, *self._touching):
            # setting the filter, even to what it is, makes Bullet forget the body's contacts
            group, mask = _MOVING if self._bodies[body].mass else _STATIC
            p.setCollisionFilterGroupMask(*self.at[body], group, mask, physicsClientId=client)

    def step(
        self, loose: Sequence[int], wrench_D6: list, place_D3: list, torque_J: list
    ) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
        """One substep with these forces; states of the loose bodies (13 numbers each) and of the joints (2 each)."""
        p, client = self._p, self.id
        for body, force, place in zip(loose, wrench_D6, place_D3, strict=True):
            number = self.at[body][0]
            p.applyExternalForce(number, -1, force[:3], place, p.WORLD_FRAME, physicsClientId=client)
            p.applyExternalTorque(number, -1, force[3:], p.WORLD_FRAME, physicsClientId=client)
        if self._joints:
            p.setJointMotorControlArray(
                self._tree, self._joints, p.TORQUE_CONTROL, forces=torque_J, physicsClientId=client
            )
        p.stepSimulation(physicsClientId=client)
        rows = []
        for body in loose:
            number = self.at[body][0]
            position, (x, y, z, w) = p.getBasePositionAndOrientation(number, physicsClientId=client)
            linear, angular = p.getBaseVelocity(number, physicsClientId=client)
            rows.append((*position, w, x, y, z, *linear, *angular))
        if not self._joints:
            return rows, []
        return rows, [state[:2] for state in p.getJointStates(self._tree, self._joints, physicsClientId=client)]

    def close(self) -> None:
        """Disconnect."""
        self._p.disconnect(self.id)

    def _add(self, first: int, bodies: Sequence[Body]) -> None:
        """A root and the links that follow it, as one of Bullet's bodies."""
        p, (root, *links) = self._p, bodies
        joints = [link.joint for link in links if link.joint is not None]
        fast, turning, sliding = p.JOINT_FIXED, p.JOINT_REVOLUTE, p.JOINT_PRISMATIC
        number = p.createMultiBody(
            root.mass,
            self._collision(root),
            linkMasses=[link.mass for link in links],
            linkCollisionShapeIndices=[self._collision(link) for link in links],
            linkVisualShapeIndices=[-1 for _ in links],
            linkPositions=[joint.position for joint in joints],
            linkOrientations=[_xyzw(joint.quat) for joint in joints],
            linkInertialFramePositions=[link.centre for link in links],
            linkInertialFrameOrientations=[_xyzw(link.turn) for link in links],
            # Bullet counts the root as 0 here
            linkParentIndices=[joint.parent - first for joint in joints],
            linkJointTypes=[fast if j.axis is None else sliding if j.slide else turning for j in joints],
            linkJointAxis=[joint.axis or (0, 0, 1) for joint in joints],
            physicsClientId=self.id,
        )
        self.at += [(number, link) for link in range(-1, len(links))]
        for link, body in enumerate(bodies, start=-1):
            p.changeDynamics(
                number,
                link,
                linearDamping=0.0,
                angularDamping=0.0,
                jointDamping=0.0,
                contactStiffness=CONTACT[0],
                contactDamping=CONTACT[1],
                activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING,
                physicsClientId=self.id,
            )
            if body.joint is not None and body.joint.axis is not None:
                low, high = body.joint.limit
                p.changeDynamics(number, link, jointLowerLimit=low, jointUpperLimit=high, physicsClientId=self.id)
                # Bullet brakes every joint until told otherwise
                p.setJointMotorControl2(number, link, p.VELOCITY_CONTROL, force=0.0, physicsClientId=self.id)

    def _collision(self, body: Body) -> int:
        p, solid = self._p, [shape for shape in body.shapes if shape.solid]
        if not solid:
            return -1
        types = {"box": p.GEOM_BOX, "cylinder": p.GEOM_CYLINDER, "capsule": p.GEOM_CAPSULE, "sphere": p.GEOM_SPHERE}
        return p.createCollisionShapeArray(
            [types[shape.kind] for shape in solid],
            halfExtents=[shape.size if shape.kind == "box" else (0, 0, 0) for shape in solid],
            radii=[shape.size[0] for shape in solid],
            # whole lengths, a capsule's without its ends
            lengths=[2 * shape.size[1] for shape in solid],
            collisionFramePositions=[shape.centre for shape in solid],
            collisionFrameOrientations=[_xyzw(shape.quat) for shape in solid],
            physicsClientId=self.id,
        )


def _xyzw(quat: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return (*quat[1:], quat[0])


def pybullet() -> ModuleType:
    """The module, or a clear error when it is not installed."""
    try:
        import pybullet as module
    except ImportError as error:
        raise ImportError(
            "engine 'bullet' needs PyBullet, which is not installed: pip install 'embodkd[bullet]' under Python 3.11 "
            "(newer Pythons have no wheel), or use engine='mujoco'"
        ) from error
    return module
