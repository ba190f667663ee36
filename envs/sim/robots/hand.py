"""A floating Shadow hand: 20 position-controlled joints on a free base that six impedance actuators move.

The model's files come from the installed package gymnasium-robotics (extra ``hand``); its code is never imported.  Of
the model only the convex collision shapes are kept: they are what the cameras see too.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import mujoco
import numpy as np
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply, rotate, rotvec_from_quat
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.robots.base import FloatingRobot, add_tool_impedance

FINGERS = ("ff", "mf", "rf", "lf", "th")  # first, middle, ring, little finger, thumb
ROOTS = {name: f"shadow/robot0:{name}proximal" for name in FINGERS}  # bodies that carry each finger
PALM_BODY = "shadow/robot0:palm"
JOINTS = 24  # two per finger are coupled by a tendon, so 20 actuators move them
STIFFNESS = (1500.0, 30.0)  # N/m, Nm/rad of the base
DAMPING = (110.0, 1.5)  # N s/m, Nm s/rad: about critical with the hand's 2 kg and 0.02 kg m^2
LIMIT = (60.0, 6.0)  # N, Nm
STEP = (0.02, 0.04)  # m, rad: how far one action may put the base's target from its pose, which bounds its forces
WORKSPACE = ((-0.2, -0.2, 0.05), (0.2, 0.2, 0.28))  # m: where the base's target may go
TURN = (0.5, 0.5, 0.8)  # rad: how far the base's target may turn about x, y and z, from palm down, fingers ahead
SMOOTHING = 0.4  # share of the way to its goal that a finger's target moves in one action
_PALM_TO_FOREARM = 0.36  # m along the forearm, from its origin to the tool point at the root of the fingers

# the joint angles of action 0, rad: open fingers, thumb in opposition, all clear of an object 6.5 cm high
REST = {f"{finger}J2": 0.2 for finger in ("FF", "MF", "RF", "LF")}
REST |= {f"{finger}J1": 0.1 for finger in ("FF", "MF", "RF", "LF")}
REST |= {"THJ4": 0.9, "THJ3": 0.3, "THJ0": -0.1}


class ShadowHand(FloatingRobot):
    """Actions: 20 finger goals (0 is the rest pose, -1 and 1 the joints' limits), then six deltas of the base.

    The tool frame lies at the root of the fingers: x along them, z out of the back of the hand, so at rotation zero
    the palm looks down.  Finger targets follow their goals smoothly; targets live in the simulator's controls and are
    therefore part of its state.
    """

    action_size = 26
    base = "hand"

    def build(self, spec: mujoco.MjSpec) -> mujoco.MjsBody:
        """Add the hand; returns the floating base, to which a camera can be fixed."""
        base = spec.worldbody.add_body(name="hand", pos=[0, 0, 0.1])
        base.add_freejoint(name="hand")
        # the base's own mass sits at the tool point: it outweighs the rest, so that the six axes nearly decouple
        base.explicitinertial = True
        base.mass, base.ipos, base.inertia = 1.0, [0, 0, 0], [0.01] * 3
        base.add_site(name=self.tool_site)
        hand = _model()
        mount = base.add_frame(pos=[-_PALM_TO_FOREARM, 0, 0], quat=[0.5, 0.5, 0.5, 0.5])
        mount.attach_body(hand.body("robot0:forearm"), "shadow/", "")
        for body in base.find_all("body"):
            body.gravcomp = 1.0
        base.gravcomp = 1.0
        add_tool_impedance(spec, self.tool_site, STIFFNESS, DAMPING, LIMIT)
        return base

    def bind(self, sim: BatchSim) -> None:
        """Connect to the running copies."""
        super().bind(sim)
        model = sim.model
        first = model.joint("shadow/robot0:WRJ1")
        self._qpos = slice(first.qposadr[0], first.qposadr[0] + JOINTS)
        self._qvel = slice(first.dofadr[0], first.dofadr[0] + JOINTS)
        finger = model.actuator("shadow/robot0:A_WRJ1").id
        self._fingers = slice(finger, finger + 20)
        self._low, self._high = model.actuator_ctrlrange[self._fingers].T
        joints = model.actuator_trnid[self._fingers, 0]
        self._rest = np.array([REST.get(model.joint(j).name.split(":")[1], 0.0) for j in joints])
        self._rest_qpos = np.zeros(JOINTS)
        self._rest_qpos[model.jnt_qposadr[joints] - self._qpos.start] = self._rest

    def place(self, ids: np.ndarray, position_n3: np.ndarray, rotvec_n3: np.ndarray) -> None:
        """Start copies at rest with the tool at these poses and the fingers in the rest pose."""
        qpos, ctrl = self.sim.view("qpos"), self.sim.view("ctrl")
        quat = quat_from_rotvec(rotvec_n3)
        qpos[ids, self._base_qpos] = np.concatenate([position_n3, quat], axis=1)
        qpos[ids, self._qpos] = self._rest_qpos
        self.sim.view("qvel")[ids] = 0.0
        ctrl[ids, self._fingers] = self._rest
        self.aim(ids, position_n3, quat)

    def command(self, actions: np.ndarray) -> None:
        """Move the targets: fingers part of the way to their goals, the base by a delta in the tool's frame."""
        actions = actions.astype(float)
        fingers, ctrl = actions[:, :20], self.sim.view("ctrl")
        span = np.where(fingers > 0, self._high - self._rest, self._rest - self._low)
        ctrl[:, self._fingers] += SMOOTHING * (self._rest + fingers * span - ctrl[:, self._fingers])
        moved = self.position + rotate(self.rotation, STEP[0] * actions[:, 20:23])
        turned = rotvec_from_quat(quat_multiply(self.quat, quat_from_rotvec(STEP[1] * actions[:, 23:])))
        turned = np.clip(turned, np.negative(TURN), TURN)
        self.aim(slice(None), np.clip(moved, *WORKSPACE), quat_from_rotvec(turned))

    @property
    def joints(self) -> np.ndarray:
        """Joint angles, rad, (N, 24)."""
        return self.sim.view("qpos")[:, self._qpos]

    @property
    def joint_speeds(self) -> np.ndarray:
        """Joint velocities, rad/s, (N, 24)."""
        return self.sim.view("qvel")[:, self._qvel]

    @property
    def joint_torques(self) -> np.ndarray:
        """Torques of the 20 finger and wrist actuators, Nm, (N, 20)."""
        return self.sim.view("actuator_force")[:, self._fingers]


def _model() -> mujoco.MjSpec:
    """The hand without its visual meshes, its heavy forearm replaced by a light one."""
    folder = _assets()
    hand = mujoco.MjSpec.from_string(
        f'<mujoco><compiler angle="radian"/><include file="{folder / "shared.xml"}"/>'
        f'<worldbody><include file="{folder / "robot.xml"}"/></worldbody></mujoco>'
    )
    for name in ("njmax", "nconmax", "nuser_jnt", "nuser_site", "nuser_tendon", "nuser_sensor", "nuser_actuator"):
        setattr(hand, name, -1)  # sizes of an older MuJoCo: leave them to the compiler
    for geom in list(hand.geoms):
        if ":V_" in geom.name or geom.name == "robot0:C_forearm":
            hand.delete(geom)
        else:
            geom.material, geom.group, geom.rgba = "", 0, [0.55, 0.6, 0.66, 1]
    for sensor in list(hand.sensors):
        if sensor.type != mujoco.mjtSensor.mjSENS_TOUCH:
            hand.delete(sensor)
    forearm = hand.body("robot0:forearm")
    forearm.mass, forearm.ipos, forearm.inertia = 0.1, [0, 0, 0.25], [1e-3] * 3
    forearm.add_geom(
        name="robot0:arm",
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[0, 0, 0.16, 0, 0, 0.24],
        size=[0.027, 0, 0],
        mass=0.0,
        contype=0,
        conaffinity=0,
        rgba=[0.3, 0.32, 0.36, 1],
    )
    return hand


def _assets() -> Path:
    """The folder of the hand's files inside the installed gymnasium-robotics."""
    found = importlib.util.find_spec("gymnasium_robotics")
    if found is None or not found.submodule_search_locations:
        raise ImportError(
            "the Shadow hand's model comes with the package gymnasium-robotics, which is not installed: "
            "pip install 'embodkd[hand]'"
        )
    folder = Path(next(iter(found.submodule_search_locations))) / "envs" / "assets" / "hand"
    missing = [name for name in ("shared.xml", "robot.xml") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"gymnasium-robotics is installed, but {folder} lacks {' and '.join(missing)}; version 1.4.2 has them: "
            "pip install --force-reinstall 'embodkd[hand]'"
        )
    return folder
