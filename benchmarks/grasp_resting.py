"""Drops the procedural objects of Grasp anew and writes how they came to rest into the package."""

from __future__ import annotations

from embodkd.envs.tasks.grasp.library import RESTING_FILE, procedural
from embodkd.envs.tasks.grasp.resting import settled, write_resting
from embodkd.envs.tasks.grasp.table import compiled


def main() -> None:
    things = procedural()
    resting = settled(things, compiled(things))
    write_resting(RESTING_FILE, resting)
    print(f"{RESTING_FILE}: {resting.height.size} poses of {len(things)} objects")


if __name__ == "__main__":
    main()
