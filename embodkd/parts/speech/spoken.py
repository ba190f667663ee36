"""Sentences that a model is asked for, each without the padding of its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from embodkd.core import Signals, Utterances

_AT_ONCE = 16
_HEARD = 4
"""Frames that a sound has at least when its spectrum is taken; a shorter one goes on in silence."""


class Spoken(NamedTuple):
    """Spectrum (T, M) and durations (X,), in frames, of a sentence, and its sound (T * hop,) from a model that makes
    it, else None: its spectrum is that of this sound then."""

    mel: np.ndarray
    duration: np.ndarray
    sound: Tensor | None = None


def spoken(
    part: Utterances,
    rows: Sequence[int],
    ask: Callable[[Signals], Mapping[str, Tensor]],
    device: torch.device | str = "cpu",
    spectra: Any = None,
) -> list[Spoken]:
    """What `ask` answers to these rows of a part, batch by batch. spectra: the data's, for whoever answers in sound."""
    found = []
    for start in range(0, len(rows), _AT_ONCE):
        batch = part.gather(np.asarray(rows[start : start + _AT_ONCE], np.int64), 0).to(device)
        s = ask(batch)
        sizes = zip(batch["phoneme_mask"].sum(1).tolist(), s["frame_mask"].sum(1).tolist(), strict=True)
        for k, (phonemes, frames) in enumerate(sizes):
            duration_X = s["duration"][k, :phonemes].cpu().numpy()
            if "sound" in s:
                hop = s["sound"].shape[1] // s["frame_mask"].shape[1]
                sound_L = s["sound"][k, : frames * hop].float().cpu()
                found.append(Spoken(_heard(sound_L, hop, spectra), duration_X, sound_L))
            else:
                found.append(Spoken(s["mel"][k, :frames].float().cpu().numpy(), duration_X))
    return found


def _heard(sound_L: Tensor, hop: int, spectra: Any) -> np.ndarray:
    """The spectrum of a sound, as the data's were made."""
    wide_L = pad(sound_L, (0, max(0, _HEARD * hop - len(sound_L)))).double()
    mel_TM: np.ndarray = spectra.mel(wide_L)[: len(sound_L) // hop].float().numpy()
    return mel_TM
