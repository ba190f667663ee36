"""Drops the procedural objects of Grasp anew and writes how they came to rest into the package."""

from __future__ import annotations

import numpy as np
from embodkd.envs.tasks.grasp.library import RESTING_FILE, drawn
from embodkd.envs.tasks.grasp.resting import settled
from embodkd.envs.tasks.grasp.table import compiled


def main() -> None:
    things = drawn()
    resting = settled(things, compiled(things))
    np.savez_compressed(RESTING_FILE, height=resting.height.astype(np.float32), quat=resting.quat.astype(np.float32))
    print(f"{RESTING_FILE}: {resting.height.size} poses of {len(things)} objects")
