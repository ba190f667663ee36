"""A screwed joint: a nut in the base catches a part that has been inserted, and from then on depth follows turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import mujoco
import numpy as np
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.tasks.assembly.parts import Insertion, Poses

CATCH = 0.001  # m: how near to the nut a part is caught, within an insertion's usual 2 mm and 5 degrees of the axis
ARMATURE = (2.0, 1e-4)  # kg, kg m^2: give the light nut constraints that do not yield to a hand
FRICTION = 0.1  # Nm: a screwed part keeps its turn when it is let go or pushed
STIFF = (0.008, 1.0)  # s, damping ratio: twice the time step, the fastest that is stable
RIGID = (0.995, 0.995, 0.001, 0.5, 2.0)  # how little the constraints give, as MuJoCo's impedance
_STEEL = (0.45, 0.47, 0.5, 1.0)


@dataclass(frozen=True)
class Screw(Insertion):
    """An insertion that ends with a turn of at least ``turn`` (rad), clockwise as seen from above.

    The tip, ``tip`` (m) below the part's frame, first meets a nut that holds it up at ``start``, the height of the
    part's frame in the base's. There the nut catches it, and never lets it go: it can only turn, up to ``end`` (rad),
    and sinks by ``pitch`` (m/rad) as it does. ``radius`` and ``thickness`` (m) are the nut's.
    """

    start: float = 0.0
    tip: float = 0.0
    pitch: float = 0.004
    turn: float = np.radians(60)
    end: float = np.radians(75)
    radius: float = 0.01
    thickness: float = 0.004

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the nut to its base, which the model has already.

        Its frame is where the part's will be, so that both can be welded. It slides and turns, coupled as a screw,
        and a stop holds it until the weld takes its place.
        """
        spec.compiler.degree = False  # a model description reads angles in degrees unless told otherwise
        nut = spec.body(self.base).add_body(name=f"{self.part}_nut", pos=[0, 0, self.start])
        nut.gravcomp = 1.0
        slide, hinge = (f"{self.part}_nut_{kind}" for kind in ("slide", "hinge"))
        nut.add_joint(name=slide, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1], armature=ARMATURE[0])
        nut.add_joint(
            name=hinge,
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=[0, 0, 1],
            armature=ARMATURE[1],
            frictionloss=FRICTION,
            solref_friction=STIFF,
            solimp_friction=RIGID,
            range=[-self.end, 0.0],
            limited=True,
        )
        half = self.thickness / 2
        nut.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            pos=[0, 0, -self.tip - half],
            size=[self.radius, half, 0],
            mass=0.01,
            rgba=_STEEL,
            friction=[0.3, 0.005, 1e-4],
            condim=4,
            priority=1,
            solref=STIFF,
            solimp=RIGID,
        )
        # it moves in the base's hole and is led by its joints, not by the walls
        spec.add_exclude(bodyname1=self.base, bodyname2=nut.name)
        solver = {"solref": STIFF, "solimp": RIGID}
        # a tendon's length weighs both joints rightly; a joint equality would be as weak as the turn is light
        lead = spec.add_tendon(name=f"{self.part}_lead")
        lead.wrap_joint(slide, 1.0)
        lead.wrap_joint(hinge, -self.pitch)
        spec.add_equality(type=mujoco.mjtEq.mjEQ_TENDON, name1=lead.name, data=_data({}), **solver)
        spec.add_equality(name=f"{self.part}_stop", type=mujoco.mjtEq.mjEQ_JOINT, name1=slide, data=_data({}), **solver)
        spec.add_equality(
            name=f"{self.part}_thread",
            type=mujoco.mjtEq.mjEQ_WELD,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            name1=nut.name,
            name2=self.part,
            data=_data({6: 1.0, 10: 1.0}),
            active=False,
            **solver,
        )


class Nut:
    """The nut of one screw in the running copies."""

    def __init__(self, sim: BatchSim, screw: Screw) -> None:
        model = sim.model
        self._sim, self._place = sim, Insertion(screw.base, screw.part, height=screw.start + CATCH)
        self._hinge = int(model.joint(f"{screw.part}_nut_hinge").qposadr[0])
        self._stop, self._weld = (model.equality(f"{screw.part}_{name}").id for name in ("stop", "thread"))
        sim.parameter("eq_data")

    @property
    def caught(self) -> np.ndarray:
        """Whether the part is in the thread, (N,)."""
        return cast(np.ndarray, self._sim.view("eq_active")[:, self._weld] > 0)

    @property
    def turn(self) -> np.ndarray:
        """How far the part has been screwed in since it was caught (rad), (N,)."""
        return -self._sim.view("qpos")[:, self._hinge]

    def catch(self, relative: Poses) -> None:
        """Catch the parts that have come to their place on the nut; ``relative`` as the base sees them."""
        rows = np.flatnonzero(self._place.joined(relative) & ~self.caught)
        # the thread takes the part at the turn that it has, and makes it upright
        half = np.arctan2(relative.rotation[rows, 1, 0], relative.rotation[rows, 0, 0]) / 2
        quat = self._sim.parameter("eq_data")[:, self._weld, 6:10]
        quat[rows, 0], quat[rows, 3] = np.cos(half), np.sin(half)
        active = self._sim.view("eq_active")
        active[rows, self._stop], active[rows, self._weld] = 0, 1


def _data(values: dict[int, float]) -> np.ndarray:
    """An equality's numbers, zero where not given."""
    data = np.zeros(mujoco.mjNEQDATA)
    for k, value in values.items():
        data[k] = value
    return data
