"""N copies of one PyBullet scene in one process, with state as numpy rows.

Bullet has no batch: this file is the one place with a loop over copies.  PyBullet takes 30 MB for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from embodkd.envs.bullet import rays
from embodkd.envs.bullet.chain import Chain
from embodkd.envs.bullet.client import Client
from embodkd.envs.bullet.scene import KINDS, Body
from embodkd.envs.diverged import SimulationDiverged, cause_of
from embodkd.envs.geometry import matrix_from_quat
from embodkd.envs.state import restore, saved

GRAVITY = 9.81  # m/s^2
_ROWS = "position_NB3 quat_NB4 velocity_NB6 joint_NJ speed_NJ mass_NB inertia_NB3 friction_NB kind_NG size_NG3"
_PARAMETERS = ("mass_NB", "inertia_NB3", "friction_NB")
_STATE = {name: name for name in _ROWS.split()}


class BulletSim:
    """State rows: ``position_NB3`` (m), ``quat_NB4`` (w, x, y, z) and ``velocity_NB6`` (linear and angular, world axes)
    of every body that is loose or never moves; ``joint_NJ`` and ``speed_NJ`` (rad or m, and per second) of all joints
    that are not fast, in the order of their bodies.  Parameter rows: ``mass_NB``, ``inertia_NB3``, ``friction_NB``, and
    ``kind_NG`` and ``size_NG3`` of the shapes, which may change for the last body.

    Write rows, then ``forward``; ``place_NB3`` and ``rotation_NB33`` say then where every body is, jointed ones too.
    At every control period's end the bodies are put back where they are with an empty contact cache, so these rows are
    all that the future depends on: an episode can neither feel the one before it nor differ after ``load_state_dict``.
    """

    def __init__(
        self, bodies: Sequence[Body], num_envs: int, *, timestep: float, dump_dir: str = "runs/diverged"
    ) -> None:
        limit = 1000  # pybullet holds at most 1024 connections in a process
        if not 1 <= num_envs <= limit:
            raise ValueError(f"num_envs is {num_envs}; engine bullet holds 1 to {limit} copies in a process")
        self.num_envs, self.bodies, self._dump_dir = num_envs, tuple(bodies), Path(dump_dir)
        self._chain = Chain(bodies)
        self._own = [index for index, body in enumerate(bodies) if body.joint is None]
        self._loose = [index for index in self._own if bodies[index].mass > 0]
        self._weight_D = np.array([0.0 if bodies[b].weightless else GRAVITY for b in self._loose])
        shapes = [(index, shape) for index, body in enumerate(bodies) for shape in body.shapes]
        self.shape_body_G = np.array([index for index, _ in shapes])
        self.shape_group_G = np.array([shape.group for _, shape in shapes])
        self._centre_G3 = np.array([shape.centre for _, shape in shapes])
        self._turn_G33 = matrix_from_quat(np.array([shape.quat for _, shape in shapes]))
        self.colours_G3 = np.array([shape.rgb for _, shape in shapes], float)
        self._kind_G = np.array([KINDS.index(shape.kind) for _, shape in shapes])
        self._size_G3 = np.array([shape.size for _, shape in shapes])
        count = len(bodies)
        self.position_NB3 = np.zeros((num_envs, count, 3))
        self.quat_NB4 = np.tile([1.0, 0, 0, 0], (num_envs, count, 1))
        self.velocity_NB6 = np.zeros((num_envs, count, 6))
        self.joint_NJ, self.speed_NJ = np.zeros((2, num_envs, self._chain.count))
        self.mass_NB, self.friction_NB = np.zeros((2, num_envs, count))
        self.inertia_NB3 = np.zeros((num_envs, count, 3))
        self.kind_NG, self.size_NG3 = np.tile(self._kind_G, (num_envs, 1)), np.tile(self._size_G3, (num_envs, 1, 1))
        # what acts during a substep: written by ``step``'s ``drive``
        self.wrench_NB6 = np.zeros((num_envs, count, 6))
        self.torque_NJ = np.zeros((num_envs, self._chain.count))
        self.place_NB3, self.rotation_NB33 = np.zeros((num_envs, count, 3)), np.zeros((num_envs, count, 3, 3))
        self._clients = [Client(bodies, timestep) for _ in range(num_envs)]
        self.reset(np.arange(num_envs))
        self.forward()

    def body(self, name: str) -> int:
        """Index of a body, for the rows."""
        return [body.name for body in self.bodies].index(name)

    def reset(self, ids: np.ndarray) -> None:
        """Copies ``ids`` take the bodies' own parameters and places, at rest; then ``forward``."""
        self.position_NB3[ids] = [body.place for body in self.bodies]
        self.velocity_NB6[ids] = 0.0
        self.quat_NB4[ids] = [1.0, 0, 0, 0]
        self.joint_NJ[ids], self.speed_NJ[ids] = 0.0, 0.0
        self.mass_NB[ids] = [body.mass for body in self.bodies]
        self.inertia_NB3[ids] = [body.inertia for body in self.bodies]
        self.friction_NB[ids] = [body.friction for body in self.bodies]
        self.kind_NG[ids], self.size_NG3[ids] = self._kind_G, self._size_G3

    def forward(self, ids: np.ndarray | None = None) -> None:
        """Hand the rows of copies ``ids`` (None for all) to Bullet."""
        for copy in range(self.num_envs) if ids is None else ids:
            client = self._clients[copy]
            client.shape(self.kind_NG[copy], self.size_NG3[copy])
            client.parameters(self.mass_NB[copy], self.inertia_NB3[copy], self.friction_NB[copy])
            self._put(copy, self._own)
        self.derive()

    def derive(self) -> None:
        """Make ``place_NB3`` and ``rotation_NB33`` current after joints or poses were written."""
        own = self._own
        self.place_NB3[:, own] = self.position_NB3[:, own]
        self.rotation_NB33[:, own] = matrix_from_quat(self.quat_NB4[:, own])
        self._chain.derive(self.place_NB3, self.rotation_NB33, self.joint_NJ)

    def jacobian(self, body: int) -> np.ndarray:
        """Linear and angular velocity of a jointed body's origin per joint speed, world axes, (N, 6, J)."""
        return self._chain.jacobian(self.place_NB3, self.rotation_NB33, body)

    def step(self, substeps: int, drive: Callable[[], None]) -> None:
        """Advance every copy; before each substep ``drive`` writes the forces and torques that act during it:
        ``wrench_NB6`` on loose bodies, in world axes at their centres, and ``torque_NJ`` on joints."""
        loose = self._loose
        before = self.state_dict()
        for _ in range(substeps):
            drive()
            wrench = self.wrench_NB6[:, loose]
            wrench[:, :, 2] -= self._weight_D * self.mass_NB[:, loose]
            acting = zip(
                self._clients,
                wrench.tolist(),
                self.position_NB3[:, loose].tolist(),
                self.torque_NJ.tolist(),
                strict=True,
            )
            rows = [client.step(loose, *forces) for client, *forces in acting]
            state = np.array([bodies for bodies, _ in rows]).reshape(self.num_envs, len(loose), 13)
            self.position_NB3[:, loose], self.quat_NB4[:, loose] = state[:, :, :3], state[:, :, 3:7]
            self.velocity_NB6[:, loose] = state[:, :, 7:]
            joints = np.array([joints for _, joints in rows]).reshape(self.num_envs, -1, 2)
            self.joint_NJ[:], self.speed_NJ[:] = joints[:, :, 0], joints[:, :, 1]
            self.derive()
        finite = np.isfinite(self.position_NB3).all((1, 2)) & np.isfinite(self.velocity_NB6).all((1, 2))
        finite &= np.isfinite(self.joint_NJ).all(1) & np.isfinite(self.speed_NJ).all(1)
        if not finite.all():
            self._raise_diverged(np.flatnonzero(~finite), before)
        for copy in range(self.num_envs):
            self._put(copy, loose)

    def ray(
        self, origin_n3: np.ndarray, vector_nR3: np.ndarray, ids: np.ndarray, hidden: Sequence[int] = ()
    ) -> tuple[np.ndarray, ...]:
        """Distances in lengths of the vectors (n, R; -1 for a miss), shape ids (n, R; -1), unit normals (n, R, 3)."""
        seen = np.flatnonzero(~np.isin(self.shape_group_G, hidden))
        body = self.shape_body_G[seen]
        rotation = self.rotation_NB33[ids][:, body]
        centre = self.place_NB3[ids][:, body] + (rotation @ self._centre_G3[seen, :, None])[..., 0]
        rotation = rotation @ self._turn_G33[seen]
        hits = [
            rays.cast(
                origin_n3[row], vector_nR3[row], self.kind_NG[copy, seen], self.size_NG3[copy, seen], centre[row],
                rotation[row],
            )
            for row, copy in enumerate(ids)
        ]  # fmt: skip
        distance, shape, normal = (np.stack(column) for column in zip(*hits, strict=True))
        return distance, np.where(shape >= 0, seen[shape], -1), normal

    def state_dict(self) -> dict[str, np.ndarray]:
        """The rows of all copies."""
        return saved(self, _STATE)

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue exactly from ``state_dict``."""
        restore(self, _STATE, arrays)
        self.forward()

    def close(self) -> None:
        """Disconnect every copy; harmless twice."""
        while self._clients:
            self._clients.pop().close()

    def __del__(self) -> None:
        if hasattr(self, "_clients"):
            self.close()

    def _put(self, copy: int, bodies: Sequence[int]) -> None:
        rows = self.position_NB3[copy], self.quat_NB4[copy], self.velocity_NB6[copy]
        self._clients[copy].put(bodies, *rows, self.joint_NJ[copy], self.speed_NJ[copy])

    def _raise_diverged(self, copies: np.ndarray, before: dict[str, np.ndarray]) -> None:
        self._dump_dir.mkdir(parents=True, exist_ok=True)
        dump = self._dump_dir / f"bullet_copy_{copies[0]}_state.npz"
        np.savez(dump, copies=copies, **{name: rows[copies] for name, rows in before.items()})
        first = int(copies[0])
        rows = {name: values[first] for name, values in before.items()}
        body = int(np.abs(rows["velocity_NB6"]).max(axis=1).argmax())
        speed = np.abs(rows["velocity_NB6"][body]).max()
        fastest = f"body {self.bodies[body].name} was the fastest, at {speed:.3g} m/s or rad/s"
        parameters = {name: rows.pop(name) for name in _PARAMETERS}
        rows |= {"force": self.wrench_NB6[first], "torque": self.torque_NJ[first]}
        raise SimulationDiverged([int(c) for c in copies], cause_of(rows, parameters, fastest), dump)
