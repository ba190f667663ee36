"""N copies of one PyBullet scene in one process, with state as numpy rows.

Bullet has no batch: this file is the one place with a loop over copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from embodkd.envs.bullet import rays
from embodkd.envs.geometry import matrix_from_quat
from embodkd.envs.sim.batch_sim import SimulationDiverged

GRAVITY = 9.81  # m/s^2
# N/m and Ns/m of each body: contacts yield by tenths of a millimetre, as MuJoCo's do; rigid ones jam a tight peg
CONTACT = (2e4, 200.0)
_STATIC, _MOVING = (2, ~2), (1, -1)  # Bullet's own filter group and mask for bodies that never and that may move
_STATE = ("position_NB3", "quat_NB4", "velocity_NB6", "mass_NB", "friction_NB")


@dataclass(frozen=True)
class Box:
    """A box in its body's frame: centre and half-size in metres, colour in 0..1."""

    name: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Body:
    """A rigid body of boxes with its centre of mass at its origin; zero ``mass`` (kg) means that it never moves.

    ``inertia`` (kg m^2) is the same about every axis.  Bullet multiplies the ``friction`` of two touching bodies.
    """

    name: str
    boxes: tuple[Box, ...]
    mass: float = 0.0
    inertia: float = 0.0
    friction: float = 1.0
    weightless: bool = False


class BulletSim:
    """State rows: ``position_NB3`` (m), ``quat_NB4`` (w, x, y, z) and ``velocity_NB6`` (linear and angular, world axes)
    of every body, and its ``mass_NB`` and ``friction_NB``.

    Write rows, then ``forward``.  At every control period's end the bodies are put back where they are with an empty
    contact cache, so these rows are all that the future depends on: an episode can neither feel the one before it nor
    differ after ``load_state_dict``.
    """

    def __init__(
        self, bodies: Sequence[Body], num_envs: int, *, timestep: float, dump_dir: str = "runs/diverged"
    ) -> None:
        self._p = pybullet()
        limit = 1000  # pybullet holds at most 1024 connections in a process
        if not 1 <= num_envs <= limit:
            raise ValueError(f"num_envs is {num_envs}; engine bullet holds 1 to {limit} copies in a process")
        self.num_envs, self.bodies, self._dump_dir = num_envs, tuple(bodies), Path(dump_dir)
        # bodies that move, in order: the D of ``drive``
        self._moving = [index for index, body in enumerate(bodies) if body.mass > 0]
        self._weight_D = np.array([0.0 if bodies[b].weightless else GRAVITY for b in self._moving])
        boxes = [(index, box) for index, body in enumerate(bodies) for box in body.boxes]
        self._box_body_G = np.array([index for index, _ in boxes])
        self._box_centre_G3 = np.array([box.centre for _, box in boxes])
        self._box_half_G3 = np.array([box.half for _, box in boxes])
        self.colours_G3 = np.array([box.rgb for _, box in boxes], float)
        count = len(bodies)
        self.position_NB3 = np.zeros((num_envs, count, 3))
        self.quat_NB4 = np.tile([1.0, 0, 0, 0], (num_envs, count, 1))
        self.velocity_NB6 = np.zeros((num_envs, count, 6))
        self.mass_NB = np.tile([body.mass for body in bodies], (num_envs, 1))
        self.friction_NB = np.tile([body.friction for body in bodies], (num_envs, 1))
        self._clients: list[int] = []
        for _ in range(num_envs):
            self._clients.append(self._populate(timestep))
        self.forward()

    def body(self, name: str) -> int:
        """Index of a body, for the rows."""
        return [body.name for body in self.bodies].index(name)

    @property
    def moving_count(self) -> int:
        """How many bodies move."""
        return len(self._moving)

    def rotation(self, body: int) -> np.ndarray:
        """Rotation of one body in every copy, (N, 3, 3)."""
        return matrix_from_quat(self.quat_NB4[:, body])

    def reset(self, ids: np.ndarray) -> None:
        """Copies ``ids`` take the bodies' own masses and frictions, at the origin and at rest; then ``forward``."""
        self.position_NB3[ids], self.velocity_NB6[ids] = 0.0, 0.0
        self.quat_NB4[ids] = [1.0, 0, 0, 0]
        self.mass_NB[ids] = [body.mass for body in self.bodies]
        self.friction_NB[ids] = [body.friction for body in self.bodies]

    def forward(self, ids: np.ndarray | None = None) -> None:
        """Hand the rows of copies ``ids`` (None for all) to Bullet."""
        p = self._p
        for copy in range(self.num_envs) if ids is None else ids:
            client = self._clients[copy]
            for index, body in enumerate(self.bodies):
                factor = self.mass_NB[copy, index] / body.mass if body.mass else 0.0
                p.changeDynamics(
                    index,
                    -1,
                    mass=self.mass_NB[copy, index],
                    localInertiaDiagonal=[factor * body.inertia] * 3,
                    lateralFriction=self.friction_NB[copy, index],
                    physicsClientId=client,
                )
                self._put(copy, index)

    def step(self, substeps: int, drive: Callable[[], np.ndarray]) -> None:
        """Advance every copy; ``drive`` gives the forces and torques (N, D, 6) on the D moving bodies, in world axes at
        their centres, from the rows as they are before each substep."""
        p, moving = self._p, self._moving
        before = {name: getattr(self, name).copy() for name in _STATE}
        for _ in range(substeps):
            wrench = np.array(drive(), float)
            wrench[:, :, 2] -= self._weight_D * self.mass_NB[:, moving]
            forces, places = wrench.tolist(), self.position_NB3.tolist()
            rows = []
            for client, force_D6, place_B3 in zip(self._clients, forces, places, strict=True):
                for body, force in zip(moving, force_D6, strict=True):
                    at = place_B3[body]
                    p.applyExternalForce(body, -1, force[:3], at, p.WORLD_FRAME, physicsClientId=client)
                    p.applyExternalTorque(body, -1, force[3:], p.WORLD_FRAME, physicsClientId=client)
                p.stepSimulation(physicsClientId=client)
                for body in moving:
                    position, (x, y, z, w) = p.getBasePositionAndOrientation(body, physicsClientId=client)
                    linear, angular = p.getBaseVelocity(body, physicsClientId=client)
                    rows.append((*position, w, x, y, z, *linear, *angular))
            state = np.array(rows).reshape(self.num_envs, len(moving), 13)
            self.position_NB3[:, moving], self.quat_NB4[:, moving] = state[:, :, :3], state[:, :, 3:7]
            self.velocity_NB6[:, moving] = state[:, :, 7:]
        finite = np.isfinite(self.position_NB3).all((1, 2)) & np.isfinite(self.velocity_NB6).all((1, 2))
        if not finite.all():
            self._raise_diverged(np.flatnonzero(~finite), before)
        for copy in range(self.num_envs):
            for body in moving:
                self._put(copy, body)

    def ray(self, origin_n3: np.ndarray, vector_nR3: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, ...]:
        """Distances in lengths of the vectors (n, R; -1 for a miss), box ids (n, R; -1) and unit normals (n, R, 3)."""
        boxes = (self._box_body_G, self._box_centre_G3, self._box_half_G3)
        rotation_nB33 = matrix_from_quat(self.quat_NB4[ids])
        hits = [
            rays.cast(origin_n3[row], vector_nR3[row], self.position_NB3[copy], rotation_nB33[row], *boxes)
            for row, copy in enumerate(ids)
        ]
        return tuple(np.stack(column) for column in zip(*hits, strict=True))

    def state_dict(self) -> dict[str, np.ndarray]:
        """The rows of all copies."""
        return {name: getattr(self, name).copy() for name in _STATE}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue exactly from ``state_dict``."""
        for name in _STATE:
            getattr(self, name)[:] = arrays[name]
        self.forward()

    def close(self) -> None:
        """Disconnect every copy; harmless twice."""
        while self._clients:
            self._p.disconnect(self._clients.pop())

    def __del__(self) -> None:
        if hasattr(self, "_clients"):
            self.close()

    def _populate(self, timestep: float) -> int:
        p = self._p
        client = p.connect(p.DIRECT)
        p.setPhysicsEngineParameter(
            fixedTimeStep=timestep, numSubSteps=0, deterministicOverlappingPairs=1, physicsClientId=client
        )
        for expected, body in enumerate(self.bodies):
            shape = p.createCollisionShapeArray(
                [p.GEOM_BOX] * len(body.boxes),
                halfExtents=[box.half for box in body.boxes],
                collisionFramePositions=[box.centre for box in body.boxes],
                physicsClientId=client,
            )
            index = p.createMultiBody(body.mass, shape, physicsClientId=client)
            if index != expected:
                raise RuntimeError(f"Bullet numbers body {body.name!r} {index}, expected {expected}")
            p.changeDynamics(
                index,
                -1,
                linearDamping=0.0,
                angularDamping=0.0,
                contactStiffness=CONTACT[0],
                contactDamping=CONTACT[1],
                activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING,
                physicsClientId=client,
            )
        return client

    def _put(self, copy: int, body: int) -> None:
        p, client = self._p, self._clients[copy]
        w, x, y, z = self.quat_NB4[copy, body]
        p.resetBasePositionAndOrientation(body, self.position_NB3[copy, body], [x, y, z, w], physicsClientId=client)
        velocity = self.velocity_NB6[copy, body]
        p.resetBaseVelocity(body, velocity[:3], velocity[3:], physicsClientId=client)
        # setting the filter, even to what it is, makes Bullet forget the body's contacts
        group, mask = _MOVING if self.bodies[body].mass else _STATIC
        p.setCollisionFilterGroupMask(body, -1, group, mask, physicsClientId=client)

    def _raise_diverged(self, copies: np.ndarray, before: dict[str, np.ndarray]) -> None:
        self._dump_dir.mkdir(parents=True, exist_ok=True)
        dump = self._dump_dir / f"bullet_copy_{copies[0]}_state.npz"
        np.savez(dump, copies=copies, **{name: rows[copies] for name, rows in before.items()})
        raise SimulationDiverged([int(c) for c in copies], dump, "NaN or infinity in positions or velocities")


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
