"""Recordings of people's hands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import embodkd.data.motions.door as door
from embodkd.data.motions.door import FINGERS, door_clips
from embodkd.parts.affordance.likeness import Synergies


def test_all_clips_are_there_with_all_their_joints_and_their_licence() -> None:
    clips = door_clips()
    assert len(clips) == 25 and sum(len(clip.joints) for clip in clips) == 6729
    assert all(clip.joints.shape[1] == len(clip.names) == 27 and np.isfinite(clip.joints).all() for clip in clips)
    assert "Apache License, Version 2.0" in Path(door.__file__).with_name("LICENSE-door.md").read_text()


def test_nine_synergies_make_nearly_all_of_what_fingers_do() -> None:
    fingers = np.concatenate([clip.of(FINGERS) for clip in door_clips()])
    found = Synergies.of(fingers, 9)
    # measured: five 90.8 %, nine 95.9 %
    assert found.shares.sum() == pytest.approx(0.9585, abs=5e-4) and found.shares[:5].sum() == pytest.approx(
        0.9076, abs=5e-4
    )
    assert np.allclose(found.project(found.project(fingers)), found.project(fingers), atol=1e-5)


def test_angles_are_within_what_a_finger_can_do() -> None:
    for clip in door_clips():
        bends = clip.of(("FFJ2", "FFJ1", "MFJ2", "MFJ1", "RFJ2", "RFJ1"))
        assert bends.min() > -0.3 and bends.max() < 1.8


def test_an_unknown_joint_is_named() -> None:
    with pytest.raises(ValueError, match="no joint FFJ9"):
        door_clips()[0].of(("FFJ3", "FFJ9"))
