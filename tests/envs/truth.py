"""What every column of every group should be, computed from `mjData` alone and by other ways than the tasks' own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import mujoco
import numpy as np
from embodkd.envs.sim.robots import gripper, hand, panda_control
from embodkd.envs.sim.robots.fingers import GRIP, OPEN
from embodkd.envs.tasks.grasp.codes import points
from embodkd.envs.tasks.peg_hole_scene import DEPTH
from embodkd.envs.tasks.pick_lift_scene import _SIZES
from scipy.spatial.transform import Rotation

UNITS = {"m": 1, "rad": 1, "m/s": 1, "rad/s": 1, "5 rad/s": 5, "N": 1, "Nm": 1, "-": 1}
XBODY, SITE = mujoco.mjtObj.mjOBJ_XBODY, mujoco.mjtObj.mjOBJ_SITE


class Vector(NamedTuple):
    """Vectors (n, 3) along the world's axes; ``parts`` are the components that a column shows."""

    world: np.ndarray
    parts: slice = slice(0, 3)


class Truth:
    """Copy 0 of a task at one instant: ``now`` after the step, ``before`` at the start of the step's last substep, when
    the controller acted; ``action`` is what it was told, deltas of the tool first or absolute poses."""

    def __init__(self, task, model, before, now, action, rest):
        self.task, self.model, self.before, self.now, self.action, self.rest = task, model, before, now, action, rest

    def axes(self, frame: str) -> np.ndarray:
        """Rotation (3, 3) of a frame that a column names."""
        if frame == "world":
            return np.eye(3)
        if frame in ("tool", "palm"):
            return self.now.site(frame).xmat.reshape(3, 3)
        return self.now.body(frame).xmat.reshape(3, 3)

    def column(self, name: str, frame: str, unit: str, last: Callable[[], np.ndarray]) -> np.ndarray:
        """The numbers of a column; ``last`` gives those of the column before it."""
        if squeezed := re.fullmatch(r"the same as tanh\(x / (.*) m\)", name):
            return np.tanh(last() / float(squeezed[1]))
        found = self.value(name)
        if isinstance(found, Vector):
            found = (np.atleast_2d(found.world) @ self.axes(frame))[:, found.parts].ravel()
        return np.atleast_1d(found) / UNITS[unit]

    def value(self, name: str):
        """What is so called, in SI units."""
        for pattern, compute in WHAT.items():
            if match := re.fullmatch(pattern, name):
                return compute(self, *match.groups())
        raise AssertionError(f"no independent computation of {name!r}")

    # what the tables below are made of

    def place(self, body: str) -> np.ndarray:
        return self.now.body(body).xpos

    def turned(self, body: str) -> np.ndarray:
        return self.now.body(body).xmat.reshape(3, 3)

    def moves(self, kind: int, name: str, data=None) -> np.ndarray:
        """Angular, then linear velocity along the world's axes."""
        number, found = mujoco.mj_name2id(self.model, kind, name), np.zeros(6)
        mujoco.mj_objectVelocity(self.model, self.now if data is None else data, kind, number, found, 0)
        return found

    @property
    def tool(self) -> np.ndarray:
        return self.now.site("tool").xpos

    def wrench(self) -> np.ndarray:
        """Force and torque of a spring and damper towards the pose that the action asked for, (2, 3)."""
        hands = {"peg_hole": (0, gripper.STEP), "hand_lift": (20, hand.STEP), "grasp": (20, hand.STEP)}
        first, step = hands[self.task.spec.name]
        if first:
            stiffness, damping = hand.STIFFNESS, hand.DAMPING
        elif self.task.spec.options["robot"] == "panda":
            stiffness, damping = panda_control.STIFFNESS, panda_control.DAMPING
        else:
            stiffness = gripper.STIFFNESS
            damping = 2 * np.sqrt(np.multiply(stiffness, [gripper.MASS, gripper.INERTIA]))
        axes, moves = self.before.site("tool").xmat.reshape(3, 3), self.moves(SITE, "tool", self.before)
        deltas = self.action[first : first + 6].reshape(2, 3) @ axes.T
        return (
            np.multiply(stiffness, step)[:, None] * deltas - np.array(damping)[:, None] * moves[[[3, 4, 5], [0, 1, 2]]]
        )

    def opening(self) -> np.ndarray:
        return np.array([self.now.joint(f"finger{side}").qpos[0] for side in (-1, 1)])

    def squeeze(self) -> np.ndarray:
        speed = np.array([self.now.joint(f"finger{side}").qvel[0] for side in (-1, 1)])
        goal = OPEN * (1 + self.action[-1]) / 2
        return np.clip(GRIP[0] * (self.opening() - goal) + GRIP[1] * speed, -GRIP[2], GRIP[2])

    def tilt(self) -> np.ndarray:
        return np.cross(self.now.site("tool").xmat.reshape(3, 3)[:, 2], [0, 0, 1])

    def yaw(self) -> float:
        """From the tool to the nearest of four equal turns of the socket."""
        tool, socket = self.now.site("tool").xmat.reshape(3, 3), self.turned("socket")
        turns = [Rotation.from_euler("z", k * np.pi / 2).as_matrix() for k in range(4)]
        angles = [np.arctan2(*(socket @ t)[[1, 0], 0]) - np.arctan2(*tool[[1, 0], 0]) for t in turns]
        return min(((a + np.pi) % (2 * np.pi) - np.pi for a in angles), key=abs)

    def across(self) -> np.ndarray:
        kind = int(self.model.geom("object").type[0])
        if kind in (mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_SPHERE):
            return np.array([0.0, 1.0])
        axis = self.turned("object")[:, 2 if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0]
        x, y, _ = axis @ self.axes("tool")
        return np.array([2 * x * y, x * x - y * y]) / (x * x + y * y)

    def kind(self) -> np.ndarray:
        named = ("BOX", "CYLINDER", "CAPSULE", "SPHERE")
        return np.array(
            [float(self.model.geom("object").type[0] == getattr(mujoco.mjtGeom, f"mjGEOM_{n}")) for n in named]
        )

    def scale(self) -> np.ndarray:
        """NaN where an object of this kind has no such size."""
        low, high = _SIZES[int(self.kind().argmax())]
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.model.geom("object").size - low) / (high - low)

    def of_joints(self, field: str) -> np.ndarray:
        first = self.model.joint("shadow/robot0:WRJ1").id
        return np.concatenate([getattr(self.now.joint(k), field) for k in range(first, first + 24)])

    def torques(self) -> np.ndarray:
        names = [self.model.actuator(k).name for k in range(self.model.nu)]
        return np.array([self.before.actuator(name).force[0] for name in names if name.startswith("shadow/")])

    def tips(self) -> list[np.ndarray]:
        return [self.now.site(f"shadow/robot0:S_{name}tip").xpos for name in hand.FINGERS]

    def touch(self) -> np.ndarray:
        """Normal forces of the contacts of each fingertip's body."""
        bodies = [int(self.model.site(f"shadow/robot0:S_{name}tip").bodyid[0]) for name in hand.FINGERS]
        forces, one = np.zeros(5), np.zeros(6)
        for k, contact in enumerate(self.before.contact):
            mujoco.mj_contactForce(self.model, self.before, k, one)
            for geom in contact.geom:
                if (body := int(self.model.geom_bodyid[geom])) in bodies:
                    forces[bodies.index(body)] += one[0]
        return forces

    def touches(self) -> np.ndarray:
        found, thing = np.zeros(6), self.object_geoms()
        roots = [self.model.body(hand.ROOTS[name]).id for name in hand.FINGERS]
        for contact in self.before.contact:
            ours = np.isin(contact.geom, thing)
            if ours.any():
                body = int(self.model.geom_bodyid[contact.geom[~ours][0]])
                found[5] += body == self.model.body(hand.PALM_BODY).id
                while body and body not in roots:
                    body = int(self.model.body_parentid[body])
                if body:
                    found[roots.index(body)] += 1
        return (found > 0).astype(float)

    def object_geoms(self) -> np.ndarray:
        return np.flatnonzero(self.model.geom_bodyid == self.model.body("object").id)

    def on_table(self) -> float:
        table, ours = self.model.geom("table").id, self.object_geoms()
        return float(any(table in c.geom and np.isin(c.geom, ours).any() for c in self.before.contact))

    def ball(self) -> tuple[mujoco.MjModel, mujoco.MjData, int]:
        """The object alone, in its own axes, with a speck that can be put anywhere: MuJoCo's distances are from it."""
        spec = mujoco.MjSpec()
        for g in self.object_geoms():
            if self.model.geom_contype[g]:
                geom = self.model.geom(g)
                spec.worldbody.add_geom(type=int(geom.type[0]), size=geom.size, pos=geom.pos, quat=geom.quat)
        body = spec.worldbody.add_body(name="speck", mocap=True)
        body.add_geom(name="speck", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[1e-7, 0, 0])
        model = spec.compile()
        return model, mujoco.MjData(model), model.geom("speck").id

    def away(self, place: np.ndarray) -> float:
        """How far a place in the object's axes is from its surface."""
        model, data, speck = self.ball()
        data.mocap_pos[0] = place
        mujoco.mj_forward(model, data)
        return min(mujoco.mj_geomDistance(model, data, k, speck, 1.0, None) for k in range(model.ngeom - 1))

    def reach(self) -> np.ndarray:
        """Along each axis of the palm and against it: by a wall far away."""
        model, data, speck = self.ball()
        axes, turned, found = self.axes("palm"), self.turned("object"), []
        for direction in (*axes.T, *-axes.T):
            local = turned.T @ direction
            model.geom_type[speck], model.geom_size[speck] = mujoco.mjtGeom.mjGEOM_BOX, [1, 1, 1]
            data.mocap_pos[0], (quat,) = 2 * local, Rotation.align_vectors([local], [[0, 0, 1]])[0].as_quat()[None]
            data.mocap_quat[0] = np.roll(quat, 1)
            mujoco.mj_forward(model, data)
            found.append(1 - min(mujoco.mj_geomDistance(model, data, k, speck, 2.0, None) for k in range(speck)))
        return np.array(found)

    def within(self, base: str, part: str) -> np.ndarray:
        return self.turned(base).T @ self.turned(part)

    def quat(self, part: str) -> np.ndarray:
        found = Rotation.from_matrix(self.turned(part)).as_quat()
        return found if found[3] >= 0 else -found


def _turn_of(truth: Truth, part: str) -> float:
    base = next(pair.base for pair in truth.task.pairs if pair.part == part)
    seen = truth.within(base, part)
    return seen[1, 0] / np.hypot(seen[0, 0], seen[1, 0])


WHAT: dict[str, Callable[..., object]] = {
    "tool position": lambda t: Vector(t.tool),
    "tool rotation vector": lambda t: Vector(Rotation.from_matrix(t.axes("tool")).as_rotvec()),
    "tool velocity": lambda t: Vector(t.moves(SITE, "tool")[3:]),
    "tool angular velocity": lambda t: Vector(t.moves(SITE, "tool")[:3]),
    "controller force": lambda t: Vector(t.wrench()[0]),
    "controller torque": lambda t: Vector(t.wrench()[1]),
    "last action": lambda t: t.action,
    "first two rows of the tool's rotation": lambda t: t.axes("tool")[:2].ravel(),
    # peg_hole
    "from the tool to the socket's rim": lambda t: Vector(t.place("socket") + [0, 0, DEPTH] - t.tool),
    "sine of the missing tilt": lambda t: Vector(t.tilt(), slice(0, 2)),
    "missing turn about the vertical": lambda t: Vector(np.array([0, 0, t.yaw()]), slice(2, 3)),
    # pick_lift
    "opening of each finger": lambda t: t.opening(),
    "squeeze of each finger": lambda t: t.squeeze(),
    "from the tool to the object": lambda t: Vector(t.place("object") - t.tool),
    "sine and cosine of twice the turn across the object": lambda t: t.across(),
    "lift of the object": lambda t: Vector(t.place("object") - t.rest["object"], slice(2, 3)),
    "velocity of the object": lambda t: Vector(t.moves(XBODY, "object")[3:]),
    "size of the object from smallest to largest": lambda t: t.scale(),
    "kind of the object": lambda t: t.kind(),
    # hand_lift
    "angle of each joint": lambda t: t.of_joints("qpos"),
    "speed of each joint": lambda t: t.of_joints("qvel"),
    "torque of each finger's and wrist's actuator": lambda t: t.torques(),
    "touch of each fingertip": lambda t: t.touch(),
    "from the palm to the object": lambda t: Vector(t.place("object") - t.now.site("palm").xpos),
    "([xz]) axis of the object": lambda t, axis: Vector(t.turned("object")[:, "xyz".index(axis)]),
    "angular velocity of the object": lambda t: Vector(t.moves(XBODY, "object")[:3]),
    "from each fingertip to the object": lambda t: Vector(t.place("object") - np.array(t.tips())),
    "whether each finger and the palm touch the object": lambda t: t.touches(),
    "height of the object above rest": lambda t: Vector(t.place("object") - t.rest["object"], slice(2, 3)),
    # grasp
    "from the tool to the target": lambda t: Vector(t.place("target") - t.tool),
    "from the object to the target": lambda t: Vector(t.place("target") - t.place("object")),
    "whether the object touches the table": lambda t: t.on_table(),
    "how far the object reaches along each axis and against it": lambda t: t.reach(),
    "distance of 32 fixed points from the object's surface": lambda t: np.array([t.away(p) for p in points()]),
    # assemblies
    "opening of both fingers": lambda t: t.opening().sum(),
    "(.*) position": lambda t, part: Vector(t.place(part)),
    "(.*) quaternion x, y, z, w": lambda t, part: t.quat(part),
    "from the tool to (.*)": lambda t, part: Vector(t.place(part) - t.tool),
    "from (.*) to (.*)": lambda t, base, part: Vector(t.place(part) - t.place(base)),
    "x and y of the z axis of (.*)": lambda t, part: Vector(t.turned(part)[:, 2], slice(0, 2)),
    "sine of the turn of (.*)": _turn_of,
}
