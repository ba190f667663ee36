"""People who open a door with a hand of 24 joints that a glove drives (Rajeswaran et al. 2018; Apache-2.0).

25 clips, 6,729 frames. The hand is the Adroit, a Shadow hand with the same joints as this project's. The terms are
beside the data, in LICENSE-door.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from embodkd.core.runs.files import read_tensors

ARM = ("ARRx", "ARRy", "ARRz")
WRIST = ("WRJ1", "WRJ0")
FINGERS = (
    *(f"{finger}J{joint}" for finger in ("FF", "MF", "RF") for joint in (3, 2, 1, 0)),
    *(f"{finger}J{joint}" for finger in ("LF", "TH") for joint in (4, 3, 2, 1, 0)),
)
HZ = 100.0  # five steps of 2 ms
_FILE = Path(__file__).with_name("door.safetensors")


class HandMotion(NamedTuple):
    """joints (T, J), rad, of the joints `names`, at `hz` frames a second."""

    joints: np.ndarray
    names: tuple[str, ...]
    hz: float

    def of(self, names: tuple[str, ...]) -> np.ndarray:
        """These joints (T, len(names)), in this order. ValueError for one that is not there."""
        if missing := [name for name in names if name not in self.names]:
            raise ValueError(f"hand motion: no joint {', '.join(missing)}; there are {', '.join(self.names)}")
        return self.joints[:, [self.names.index(name) for name in names]]


def door_clips() -> list[HandMotion]:
    """All 25, in the order of the recording."""
    stored = read_tensors(_FILE)
    ends = np.cumsum(stored["lengths"])
    clips = np.split(stored["joints"], ends[:-1])
    return [HandMotion(joints, (*ARM, *WRIST, *FINGERS), HZ) for joints in clips]
