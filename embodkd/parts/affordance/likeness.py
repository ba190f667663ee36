"""How much a hand's motion is like people's: five measures of a clip, each held against clips of people.

    score = 1 + 9 * mean over measures of min(1, q / .25),   q: the share of the references that are no better

A raw share would give people 5.5, as theirs is even; this gives about 8.9. The measures: what synergies leave
over, how distal and middle joints go together, the jerk of wrist and joints, whether the wrist speeds up and slows down
once, how the hand opens and closes. A stand-in for the judge by a language model (AffordDex), never in one column with
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SYNERGIES, FULL_AT = 5, 0.25
LEAST_BEND, LEAST_WAY = 0.5, 0.05  # rad of all joints together, m of the wrist: less is no motion, and scores 1
MEASURES = ("synergy", "coupling", "jerk", "one_peak", "aperture")


@dataclass(frozen=True)
class Synergies:
    """What joints do together: mean (J,), components (C, J) of length 1, and the share of the variance of each (C,)."""

    mean: np.ndarray
    components: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, joint_TJ: np.ndarray, count: int) -> Synergies:
        """The `count` first principal components of joint angles. ValueError for more than there are joints."""
        if not 1 <= count <= joint_TJ.shape[1]:
            raise ValueError(f"synergies: {count} of {joint_TJ.shape[1]} joints; take 1 to {joint_TJ.shape[1]}")
        mean_J = joint_TJ.mean(axis=0)
        _, values, vectors_JJ = np.linalg.svd(joint_TJ - mean_J, full_matrices=False)
        return cls(mean_J, vectors_JJ[:count], (values**2 / (values**2).sum())[:count])

    def project(self, joint_TJ: np.ndarray) -> np.ndarray:
        """The nearest angles (T, J) that these synergies can make."""
        return self.mean + (joint_TJ - self.mean) @ self.components.T @ self.components


@dataclass(frozen=True)
class Gesture:
    """A motion: joints (T, J) rad, wrist (T, 3) m, at `hz` frames a second. pairs: (distal, middle) joints by index."""

    joints: np.ndarray
    wrist: np.ndarray
    hz: float
    pairs: tuple[tuple[int, int], ...]


def measures(clip: Gesture, synergies: Synergies) -> np.ndarray:
    """All five (5,), less is more like people. ValueError for a clip of less than eight frames, or not finite."""
    if len(clip.joints) < 8 or not (np.isfinite(clip.joints).all() and np.isfinite(clip.wrist).all()):
        raise ValueError(f"likeness: a clip of {len(clip.joints)} frames; it needs eight, all finite")
    left_over = clip.joints - synergies.project(clip.joints)
    centred = clip.joints - synergies.mean
    synergy = np.sqrt((left_over**2).sum() / max((centred**2).sum(), 1e-12))
    coupling = np.mean(
        [_coupling_error(clip.joints[:, distal], clip.joints[:, middle]) for distal, middle in clip.pairs]
    )
    jerk = np.mean([_log_jerk(clip.wrist, clip.hz), _log_jerk(clip.joints, clip.hz)])
    return np.array([synergy, coupling, jerk, _arc(_speed(clip.wrist, clip.hz)), _arc(_aperture(clip.joints))])


def likeness(clip: Gesture, references: np.ndarray, synergies: Synergies, leave_out: tuple[str, ...] = ()) -> float:
    """The score in [1, 10] of a clip against the measures (R, 5) of people's clips.

    leave_out: measures that do not count; a prior made of synergies wins that of synergies by construction. ValueError
    for a name that is none, or all of them.
    """
    if unknown := sorted(set(leave_out) - set(MEASURES)):
        raise ValueError(f"likeness: no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    if set(leave_out) == set(MEASURES):
        raise ValueError("likeness: all measures are left out; keep one")
    own = measures(clip, synergies)
    # who never moves has neither jerk nor peaks
    if _way(clip.joints) < LEAST_BEND or _way(clip.wrist) < LEAST_WAY:
        return 1.0
    no_better_M = (references >= own).mean(axis=0)
    counts = [i for i, name in enumerate(MEASURES) if name not in leave_out]
    return float(1.0 + 9.0 * np.minimum(1.0, no_better_M[counts] / FULL_AT).mean())


def _way(place_TD: np.ndarray) -> float:
    """The length of a path."""
    return float(np.linalg.norm(np.diff(place_TD, axis=0), axis=1).sum())


def _coupling_error(distal_T: np.ndarray, middle_T: np.ndarray) -> float:
    """How far the outer joint is from two thirds of the middle one, rad, root mean square."""
    return float(np.sqrt(((distal_T - 2.0 / 3.0 * middle_T) ** 2).mean()))


def _speed(place_TD: np.ndarray, hz: float) -> np.ndarray:
    return np.linalg.norm(np.diff(place_TD, axis=0), axis=1) * hz


def _log_jerk(place_TD: np.ndarray, hz: float) -> float:
    """The logarithm of the jerk without dimension, duration^3 / top speed^2 * integral of its square (Hogan 2009)."""
    seconds = len(place_TD) / hz
    jerk_TD = np.diff(place_TD, n=3, axis=0) * hz**3
    top = max(_speed(place_TD, hz).max(), 1e-9)
    return float(np.log(max(seconds**3 / top**2 * (jerk_TD**2).sum() / hz, 1e-12)))


def _aperture(joint_TJ: np.ndarray) -> np.ndarray:
    """How far the hand is closed: the mean of its joints, from the first frame on."""
    return joint_TJ.mean(axis=1)


def _arc(signal_T: np.ndarray) -> float:
    """The length of a curve's amplitude spectrum, up to 10 times its slowest wave: more for each peak more.

    SPARC with its sign turned (Balasubramanian et al. 2015).
    """
    spectrum = np.abs(np.fft.rfft(signal_T - signal_T.min(), 4 * len(signal_T)))
    spectrum = spectrum[: 4 * 10] / max(spectrum[0], 1e-12)
    step = 1.0 / max(len(spectrum) - 1, 1)
    return float(np.sqrt(step**2 + np.diff(spectrum) ** 2).sum())
