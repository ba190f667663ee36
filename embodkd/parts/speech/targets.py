"""What FastSpeech 2's predictors are to say of a sentence, beside its spectrum: facts of the data, no gradient."""

from __future__ import annotations

import numpy as np

from embodkd.core import Utterances
from embodkd.parts.speech.adaptor import Level
from embodkd.parts.speech.wavelets import contour, transformed


def with_targets(part: Utterances, level: Level) -> Utterances:
    """The sentences with `curve`, `counted`, `unvoiced` and `loud`, one row for each frame, or for each phoneme.

    Frames: curve (T, 10) is the pitch contour's wavelet transform, `pitch_mean` and `pitch_spread` (N,) what it was
    made without; counted is true. Phonemes: curve (X, 1) is the logarithm of the mean Hz of the voiced frames, counted
    where there are such; loud the mean energy.
    """
    pitch, energy, duration = (part.sequences[name] for name in ("pitch", "energy", "duration"))
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("curve", "counted", "unvoiced", "loud")}
    moments = []
    for k in range(part.size()):
        y_T, mean, deviation = contour(pitch[k])
        moments.append((mean, deviation))
        if level == "frame":
            found = transformed(y_T), np.ones(len(y_T), bool), pitch[k] <= 0, energy[k]
        else:
            owner_T = np.repeat(np.arange(len(duration[k])), duration[k])
            voiced_X = _mean(owner_T, (pitch[k] > 0).astype(float), duration[k]) > 0
            with np.errstate(divide="ignore"):
                hz_X = np.log(_mean(owner_T[pitch[k] > 0], pitch[k][pitch[k] > 0], duration[k]))
            found = np.where(voiced_X, hz_X, 0.0)[:, None], voiced_X, ~voiced_X, _mean(owner_T, energy[k], duration[k])
        for name, value in zip(rows, found, strict=True):
            rows[name].append(value if value.dtype == bool and name == "counted" else value.astype(np.float32))
    mean_N, deviation_N = np.array(moments, np.float32).T
    return part.but({**part.sequences, **rows}, pitch_mean=mean_N.copy(), pitch_spread=deviation_N.copy())


def _mean(owner_K: np.ndarray, value_K: np.ndarray, duration_X: np.ndarray) -> np.ndarray:
    size = len(duration_X)
    count_X = np.bincount(owner_K, minlength=size)
    return np.asarray(np.bincount(owner_K, value_K, minlength=size) / np.maximum(count_X, 1))
