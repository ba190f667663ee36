"""What every scene begins with: the solver's options and a table whose top lies at height 0."""

from __future__ import annotations

import mujoco

TIMESTEP = 0.004  # s, unless a scene needs another one
COLOUR = (0.76, 0.72, 0.66)


def table_scene(
    half: tuple[float, float, float], x: float = 0.0, *, timestep: float = TIMESTEP, grasps: bool = False
) -> mujoco.MjSpec:
    """A scene with a table of these half-lengths (m), its middle at ``x``.

    ``grasps`` makes friction as good as rigid: without it a held thing creeps through the fingers within seconds.
    """
    spec = mujoco.MjSpec()
    spec.option.timestep = timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    if grasps:
        spec.option.cone, spec.option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
    spec.worldbody.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=half, pos=[x, 0, -half[2]], rgba=[*COLOUR, 1]
    )
    return spec
