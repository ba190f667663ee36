"""Sounds that are built like speech, made here from a seed alone: a fixture, and a first look without any voice.

A phoneme has its band of loud frequencies and a length that varies; voiced ones sing at a pitch that falls over the
sentence and rises here and there, the others are noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from embodkd.core import Speech
from embodkd.core.config.ranges import Count, Seed, Within
from embodkd.data.registry import DATA
from embodkd.data.speech.cut import Sentence, described, packed, speech
from embodkd.data.speech.spectra import MelSpectra

_KEY, _FEW = 0x70E5, 16
_VOICED = 0.75
"""Of the phonemes."""
_SYMBOLS = "abdefghijklmnoprstuvwxyz"

Bands = Annotated[int, Within(8, 128)]
Phonemes = Annotated[int, Within(2, len(_SYMBOLS))]
Rate = Annotated[int, Within(4000, 48000)]
Hop = Annotated[int, Within(32, 1024)]


@DATA.register("tones", title="sounds built like speech, made here", licence="made here", kind="speech")
def tones(
    *,
    seed: Seed = 0,
    train: Count = 200,
    validation: Count = 16,
    test: Count = 32,
    phonemes: Phonemes = 12,
    longest: Count = 10,
    rate: Rate = 8000,
    hop: Hop = 128,
    mels: Bands = 40,
    audio: bool = False,
    blank: bool = False,
) -> Speech:
    """Sentences of 3 to `longest` (at least 3) of so many phonemes. audio: batches hold the sound, too.

    blank: a few sentences only, to try a large config at once.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    if blank:
        sizes = {name: min(size, _FEW) for name, size in sizes.items()}
    spectra = ToneSpectra(rate, hop, 4 * hop, mels)
    sentences, texts = [], []
    voice = _Voice(phonemes, rate, hop)
    for k in range(sum(sizes.values())):
        sentence = voice.say(np.random.default_rng((seed, _KEY, k)), max(3, longest), spectra)
        sentences.append(sentence)
        texts.append("".join(_SYMBOLS[p] for p in sentence["phoneme"]))
    return speech(
        packed(sentences),
        texts,
        tuple(_SYMBOLS[:phonemes]),
        spectra,
        sizes,
        seed=seed,
        audio=audio,
        source=f"tones {phonemes} {longest} {rate} {hop} {mels} {seed}",
        where="data tones",
        letters=False,
    )


@dataclass(frozen=True)
class ToneSpectra(MelSpectra):
    """Sounds of few harmonics need no network to find their pitch."""

    def pitch(self, audio_L: Tensor) -> Tensor:
        """Hz of the highest autocorrelation of each frame's sound below 800 Hz, from 70 to 320 Hz, (T,); 0 where that
        is below a third."""
        width, beside = 4 * self.hop, 3 * self.hop // 2
        window_TL = pad(audio_L.double(), (beside, width)).unfold(0, width, self.hop)[: len(audio_L) // self.hop]
        power_TF = torch.fft.rfft(window_TL - window_TL.mean(1, keepdim=True), 2 * width).abs().square()
        whole_T1 = power_TF.sum(1, keepdim=True).clamp(min=1e-12)
        low_TF = power_TF * (torch.fft.rfftfreq(2 * width, 1 / self.rate) < 800.0)
        alike_TL = torch.fft.irfft(low_TF)[:, :width] / torch.fft.irfft(low_TF)[:, :1].clamp(min=1e-12)
        shortest, longest = self.rate // 320, min(self.rate // 70, width - 1)
        best = alike_TL[:, shortest:longest].max(1)
        sings = (best.values > 1 / 3) & (low_TF.sum(1) > whole_T1[:, 0] / 10)
        return torch.where(sings, self.rate / (shortest + best.indices), 0.0).float()


class _Voice:
    """The same for every seed: what is learned from one set of sentences is true of another."""

    def __init__(self, phonemes: int, rate: int, hop: int) -> None:
        rng = np.random.default_rng((_KEY, phonemes))
        self.rate, self.hop, self.phonemes = rate, hop, phonemes
        self.centre = rng.uniform(300.0, 0.4 * rate, (phonemes, 2))
        self.length = rng.uniform(4.0, 9.0, phonemes)
        self.loud = rng.uniform(0.4, 1.0, phonemes)
        self.voiced = np.arange(phonemes) < max(1, round(_VOICED * phonemes))

    def say(self, rng: np.random.Generator, longest: int, spectra: MelSpectra) -> Sentence:
        said = rng.integers(self.phonemes, size=rng.integers(3, longest + 1))
        said[0] = 0  # voiced
        duration = np.maximum(1, np.round(self.length[said] * rng.lognormal(0.0, 0.2, len(said)))).astype(int)
        frame = np.repeat(said, duration)
        time = np.arange(len(frame)) / max(1, len(frame) - 1)
        start, phase, depth = rng.uniform(140, 200), rng.uniform(0, 2 * np.pi), rng.uniform(5, 25)
        pitch = start - 40 * time + depth * np.sin(2 * np.pi * 1.5 * time + phase)
        per_sample = np.repeat(pitch, self.hop)
        turn = 2 * np.pi * np.cumsum(per_sample) / self.rate
        voiced = np.repeat(self.voiced[frame], self.hop)
        harmonic_K = np.arange(1, int(0.45 * self.rate / pitch.max()))
        size_TK = self._size(frame[:, None], harmonic_K * pitch[:, None])
        sound = (np.repeat(size_TK, self.hop, axis=0) * np.sin(turn[:, None] * harmonic_K)).sum(1)
        hiss = np.diff(rng.standard_normal(len(sound) + 1))
        sound = np.where(voiced, sound, 0.3 * hiss) * np.repeat(self.loud[frame], self.hop) * 0.1
        true = torch.from_numpy(np.where(self.voiced[frame], pitch, 0.0))
        found = described(said.tolist(), duration.tolist(), sound, spectra, lambda _: true)
        assert found is not None, "the first phoneme has a voice"
        return found

    def _size(self, phoneme: np.ndarray, hz: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.exp(-0.5 * ((hz[..., None] - self.centre[phoneme]) / 250.0) ** 2).sum(-1) + np.exp(
            -hz / 400.0
        )
        return found
