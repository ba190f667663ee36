"""What a model of speech says."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from embodkd.core import Role, Speech
from embodkd.evaluation.samples.kept import Sample, Samples, Shown
from embodkd.evaluation.samples.media import loudness_picture, wav
from embodkd.parts.speech.spoken import spoken

_SENTENCES = 4
_DECIBELS = 20.0 / np.log(10.0)
"""Of a nat of magnitude."""


def said(model: nn.Module, data: Speech, part: str = "test", device: torch.device | str = "cpu") -> Samples:
    """The first sentences of a part; what the voice said goes through the same vocoder, which alone costs something."""
    judged = data.part(part)
    rows = range(min(_SENTENCES, judged.size()))
    told = spoken(judged, rows, Role(model.to(device), "frozen").signals, device)
    samples = []
    for row, (mel_TM, _) in zip(rows, told, strict=True):
        number = int(judged.fields["sample_id"][row])
        text = data.texts.get(number, f"sentence {number}")
        samples.append(Sample(Shown(text), heard(mel_TM, data), heard(np.array(judged.sequences["mel"][row]), data)))
    return Samples("How each says the same sentences, and what the voice said, by one vocoder.", tuple(samples))


def heard(mel_TM: np.ndarray, data: Speech) -> Shown:
    """A spectrum as sound and as a picture, and how long it lasts."""
    sound_T = data.spectra.audio(torch.from_numpy(mel_TM)).numpy()
    picture = loudness_picture(_DECIBELS * mel_TM.T)
    return Shown(f"{len(sound_T) / data.rate:.2f} s", picture, wav(sound_T, data.rate))
