"""How much a motion is like people's."""

from __future__ import annotations

import numpy as np
import pytest

from embodkd.data.motions.door import ARM, FINGERS, door_clips
from embodkd.parts.affordance.likeness import MEASURES, Gesture, Synergies, likeness, measures

PAIRS = tuple((FINGERS.index(f"{f}J0"), FINGERS.index(f"{f}J1")) for f in ("FF", "MF", "RF", "LF"))


def _clips() -> list[Gesture]:
    return [Gesture(c.of(FINGERS).astype(float), c.of(ARM).astype(float), c.hz, PAIRS) for c in door_clips()]


CLIPS = _clips()
OWN = Synergies.of(np.concatenate([clip.joints for clip in CLIPS[::2]]), 5)
REFERENCES = np.stack([measures(clip, OWN) for clip in CLIPS[::2]])


def _shaken(clip: Gesture, by: float) -> Gesture:
    """Its joints, each frame by itself, in rad."""
    noise = np.random.default_rng(0).normal(size=clip.joints.shape)
    return Gesture(clip.joints + by * noise, clip.wrist, clip.hz, PAIRS)


def test_people_who_are_no_references_score_high() -> None:
    assert np.mean([likeness(clip, REFERENCES, OWN) for clip in CLIPS[1::2]]) >= 8.0


def test_white_noise_scores_low() -> None:
    rng = np.random.default_rng(0)
    noise = [Gesture(rng.normal(size=(250, 22)), rng.normal(size=(250, 3)), 100.0, PAIRS) for _ in range(5)]
    assert np.mean([likeness(clip, REFERENCES, OWN) for clip in noise]) <= 3.0


def test_the_more_it_is_shaken_the_less_it_is_like_people() -> None:
    shaken = [[_shaken(clip, by) for clip in CLIPS[1::2]] for by in (0.0, 0.003, 0.01, 0.1, 0.3)]
    levels = [np.mean([likeness(clip, REFERENCES, OWN) for clip in clips]) for clips in shaken]
    assert (np.diff(levels) <= 1e-9).all() and levels[-1] < levels[0] - 3


def test_a_measure_can_be_left_out() -> None:
    flat = Gesture(OWN.project(CLIPS[0].joints), CLIPS[0].wrist, 100.0, PAIRS)
    assert measures(flat, OWN)[0] < 1e-6
    clip = CLIPS[1]
    parts = [likeness(clip, REFERENCES, OWN, tuple(m for m in MEASURES if m != name)) for name in MEASURES]
    assert likeness(clip, REFERENCES, OWN) == pytest.approx(np.mean(parts))


def test_a_clip_too_short_or_broken_is_refused() -> None:
    with pytest.raises(ValueError, match="eight"):
        measures(Gesture(np.zeros((5, 22)), np.zeros((5, 3)), 100.0, PAIRS), OWN)
    with pytest.raises(ValueError, match="finite"):
        measures(Gesture(np.full((50, 22), np.nan), np.zeros((50, 3)), 100.0, PAIRS), OWN)


def test_a_hand_that_never_moves_is_like_nobodys() -> None:
    for pose in (np.zeros(22), OWN.mean):
        assert likeness(Gesture(np.tile(pose, (50, 1)), np.zeros((50, 3)), 100.0, PAIRS), REFERENCES, OWN) == 1.0
    with pytest.raises(ValueError, match="no measure synergies; there are synergy"):
        likeness(CLIPS[0], REFERENCES, OWN, ("synergies",))
    with pytest.raises(ValueError, match="keep one"):
        likeness(CLIPS[0], REFERENCES, OWN, MEASURES)
    assert np.isfinite(measures(Gesture(np.zeros((50, 22)), np.zeros((50, 3)), 100.0, PAIRS), OWN)).all()
