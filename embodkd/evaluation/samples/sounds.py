"""What a model of speech says."""

from __future__ import annotations

import numpy as np

from embodkd.evaluation.samples.kept import Sample, Shown
from embodkd.evaluation.samples.media import mel, mel_picture, wav


def heard(text: str, sound_T: np.ndarray, truth_T: np.ndarray | None, rate: int) -> Sample:
    """A sentence as a model says it and, where that is known, as it was said: sounds in -1..1 at `rate` Hz."""
    return Sample(Shown(text), _of(sound_T, rate), Shown() if truth_T is None else _of(truth_T, rate))


def _of(sound_T: np.ndarray, rate: int) -> Shown:
    return Shown(f"{len(sound_T) / rate:.2f} s", mel_picture(mel(sound_T, rate)), wav(sound_T, rate))
