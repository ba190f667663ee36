"""What every model of speech is: from phonemes to durations and spectra, alone or shown what is to come."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from embodkd.core.runs.artefact import golden_unit
from embodkd.core.sources.speech import Utterances
from embodkd.models.base import Model

GOLDEN_PHONEMES, GOLDEN_FRAMES = 6, 2


class SpeechModel(Model):
    """{"phoneme": (N, X) int64, "phoneme_mask": (N, X)} -> {"mel": (N, T, mels), "frame_mask": (N, T), "duration":
    (N, X) int64, ...}. Further groups (`duration`, `mel`, `pitch`, `energy`) are what training shows of the truth.

    low, high, mean, deviation: buffers of what the training data are like, set by `calibrate`; `head` gives spectra in
    units of their deviation.
    """

    built_for = ("phonemes", "mels", "rate", "hop")
    judged_as = "speech"
    reads = ("phoneme", "phoneme_mask")
    golden_signal = "mel"
    mean_M: Tensor
    deviation_M: Tensor
    pitch_2: Tensor
    energy_2: Tensor

    def __init__(self, phonemes: int, mels: int, rate: int, hop: int) -> None:
        super().__init__()
        self.phonemes, self.mels, self.rate, self.hop = int(phonemes), int(mels), int(rate), int(hop)
        self.register_buffer("mean_M", torch.zeros(mels))
        self.register_buffer("deviation_M", torch.ones(mels))
        self.register_buffer("pitch_2", torch.tensor([80.0, 400.0]))
        self.register_buffer("energy_2", torch.tensor([0.0, 100.0]))

    @torch.no_grad()
    def calibrate(self, part: Utterances) -> None:
        """Take over what sentences are like: mean and deviation of each band, the range of pitch (Hz) and energy."""
        mel_LM, pitch_L, energy_L = (part.sequences[name].values for name in ("mel", "pitch", "energy"))
        voiced = pitch_L[pitch_L > 0]
        self.mean_M.copy_(torch.from_numpy(mel_LM.mean(0)))
        self.deviation_M.copy_(torch.from_numpy(mel_LM.std(0)).clamp(min=1e-3))
        self.pitch_2.copy_(torch.tensor([float(voiced.min()), float(voiced.max())]))
        self.energy_2.copy_(torch.tensor([float(energy_L.min()), float(energy_L.max())]))

    def as_spectrum(self, head_NTM: Tensor) -> Tensor:
        """What the last layer gives, as logarithms of bands."""
        return head_NTM * self.deviation_M + self.mean_M

    def normal(self, mel_NTM: Tensor) -> Tensor:
        """Logarithms of bands in units of their deviation."""
        return (mel_NTM - self.mean_M) / self.deviation_M

    def golden_input(self, rows: int) -> Any:
        """Phonemes of two frames each, all that is shown of them said."""
        shape = (rows, GOLDEN_PHONEMES)
        frames = (rows, GOLDEN_FRAMES * GOLDEN_PHONEMES)
        like, numbers = self.mean_M, torch.from_numpy(golden_unit(shape))
        found = {
            "phoneme": (numbers * self.phonemes).long(),
            "phoneme_mask": torch.ones(shape, dtype=torch.bool),
            "duration": torch.full(shape, GOLDEN_FRAMES),
            "frame_mask": torch.ones(frames, dtype=torch.bool),
        }
        wide = {
            "mel": torch.from_numpy(golden_unit((*frames, self.mels))),
            "pitch": 100.0 + 100.0 * torch.from_numpy(golden_unit(frames)),
            "energy": 10.0 * torch.from_numpy(golden_unit(frames)),
        }
        return {
            name: value.to(like.device) for name, value in {**found, **{n: v.to(like) for n, v in wide.items()}}.items()
        }

    def golden_answer(self, mel: Tensor) -> Tensor:
        """Every seventh number of the spectra."""
        return mel.flatten(1)[:, ::7]
