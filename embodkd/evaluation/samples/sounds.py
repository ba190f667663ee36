"""What a model of speech says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

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
    told = spoken(judged, rows, Role(model.to(device), "frozen").signals, device, data.spectra)
    samples = []
    for row, own in zip(rows, told, strict=True):
        number = int(judged.fields["sample_id"][row])
        text = data.texts.get(number, f"sentence {number}")
        voice = heard(np.array(judged.sequences["mel"][row]), data)
        samples.append(Sample(Shown(text), heard(own.mel, data, own.sound), voice))
    how = "How each says the same sentences, and what the voice said; spectra become sound by one vocoder."
    return Samples(how, tuple(samples))


def heard(mel_TM: np.ndarray, data: Speech, sound_T: Tensor | None = None) -> Shown:
    """A spectrum as sound (its own, where a model made it) and as a picture, and how long it lasts."""
    sound_T = data.spectra.audio(torch.from_numpy(mel_TM)) if sound_T is None else sound_T
    picture = loudness_picture(_DECIBELS * mel_TM.T)
    return Shown(f"{len(sound_T) / data.rate:.2f} s", picture, wav(sound_T.numpy(), data.rate))
