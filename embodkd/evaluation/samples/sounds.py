"""What a model of speech says."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from embodkd.core import Speech
from embodkd.evaluation.samples.kept import Sample, Samples, Shown
from embodkd.evaluation.samples.media import mel, mel_picture, wav
from embodkd.evaluation.speaking import spoken

_SENTENCES = 4


def said(model: nn.Module, data: Speech, part: str = "test", device: torch.device | str = "cpu") -> Samples:
    """The first sentences of a part; what the voice said goes through the same vocoder, which alone costs something."""
    judged = data.part(part)
    rows = range(min(_SENTENCES, judged.size()))
    samples = []
    for row, (mel_TM, _) in zip(rows, spoken(model, data, part, rows, device), strict=True):
        number = int(judged.fields["sample_id"][row])
        sound_T, truth_T = (
            data.spectra.audio(torch.from_numpy(np.array(log_mel_TM))).numpy()
            for log_mel_TM in (mel_TM, judged.sequences["mel"][row])
        )
        samples.append(heard(data.texts.get(number, f"sentence {number}"), sound_T, truth_T, data.rate))
    return Samples("How each says the same sentences, and what the voice said, by one vocoder.", tuple(samples))


def heard(text: str, sound_T: np.ndarray, truth_T: np.ndarray | None, rate: int) -> Sample:
    """A sentence as a model says it and, where that is known, as it was said: sounds in -1..1 at `rate` Hz."""
    return Sample(Shown(text), _of(sound_T, rate), Shown() if truth_T is None else _of(truth_T, rate))


def _of(sound_T: np.ndarray, rate: int) -> Shown:
    return Shown(f"{len(sound_T) / rate:.2f} s", mel_picture(mel(sound_T, rate)), wav(sound_T, rate))
