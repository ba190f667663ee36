"""Small sentences for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Speech, Utterances

PHONEMES, MELS, RATE, HOP = 5, 4, 4000, 32


class Silence:
    """Spectra of which nobody makes sound."""

    def audio(self, mel_TM: Tensor) -> Tensor:
        return torch.zeros(HOP * len(mel_TM))

    def mel(self, audio_L: Tensor) -> Tensor:
        return torch.zeros(len(audio_L) // HOP, MELS)

    def pitch(self, audio_L: Tensor) -> Tensor:
        return torch.full((len(audio_L) // HOP,), 100.0)


def utterances(count: int, first: int = 0, seed: int = 7, pad_to: Any = "source", audio: bool = False) -> Utterances:
    """Sentences of three to five phonemes with one to three frames each, of which the first phoneme has a voice; with
    their sound, which is noise."""
    rng = np.random.default_rng((seed, first))
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("phoneme", "duration", "mel", "pitch", "energy")}
    for _ in range(count):
        phonemes = int(rng.integers(3, 6))
        duration = rng.integers(1, 4, phonemes)
        frames = int(duration.sum())
        pitch = np.where(rng.random(frames) < 0.7, rng.uniform(80, 200, frames), 0.0)
        pitch[0] = 120.0
        rows["phoneme"].append(rng.integers(PHONEMES, size=phonemes))
        rows["duration"].append(duration)
        rows["mel"].append(rng.normal(-3.0, 1.0, (frames, MELS)).astype(np.float32))
        rows["pitch"].append(pitch.astype(np.float32))
        rows["energy"].append(rng.uniform(1, 9, frames).astype(np.float32))
    if audio:
        noise = np.random.default_rng((seed, first, 1))
        rows["audio"] = [noise.uniform(-1, 1, HOP * len(mel)).astype(np.float32) for mel in rows["mel"]]
    return Utterances(rows, {"sample_id": torch.arange(first, first + count)}, pad_to=pad_to, bucket=0)


def speech(count: int = 24, audio: bool = False, **parts: Utterances) -> Speech:
    """`count` sentences to learn from, 6 to choose by and 6 that judge."""
    sizes = {"train": (count, 0), "validation": (6, 100), "test": (6, 200)}
    made = {name: utterances(size, first, audio=audio) for name, (size, first) in sizes.items()}
    symbols = tuple("abcde")
    return Speech(**{**made, **parts}, symbols=symbols, mels=MELS, rate=RATE, hop=HOP, spectra=Silence())
