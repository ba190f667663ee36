"""Between sound and spectra: log-mels, energies and pitch of sound, and sound of log-mels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from embodkd.data.partition import from_package

FLOOR = 1e-5
"""Smaller magnitudes are taken for this one before the logarithm."""
_ROUNDS, _MOMENTUM = 32, 0.99
_HEARD_AT = 16000
"""Hz, of what the network of pitches hears."""


@dataclass(frozen=True)
class MelSpectra:
    """Frames of `window` samples every `hop` samples; L samples, a multiple of the hop, make T = L / hop frames.

    rate: Hz; mels: bands between 0 Hz and `top` (by default half the rate).
    """

    rate: int
    hop: int
    window: int
    mels: int
    top: float | None = None

    def magnitudes(self, audio_L: Tensor) -> Tensor:
        """Of the short-time Fourier transform with a Hann window, (T, window / 2 + 1)."""
        beside = (self.window - self.hop) // 2
        padded = pad(audio_L[None], (beside, beside), mode="reflect")[0]
        hann = torch.hann_window(self.window, dtype=audio_L.dtype)
        found = torch.stft(padded, self.window, self.hop, window=hann, center=False, return_complex=True)
        return found.abs().T

    def mel(self, audio_L: Tensor) -> Tensor:
        """Natural logarithms of the bands' magnitudes, (T, mels)."""
        return (self.magnitudes(audio_L) @ self.bands_FM.to(audio_L)).clamp(min=FLOOR).log()

    def energy(self, audio_L: Tensor) -> Tensor:
        """The norm of each frame's magnitudes, (T,)."""
        return self.magnitudes(audio_L).norm(dim=1)

    def pitch(self, audio_L: Tensor) -> Tensor:
        """Hz of each frame by a small network (SwiftF0), 0 without a voice, (T,). ValueError if it is missing."""
        heard = _tracker().detect(_resampled(audio_L.double().numpy(), self.rate), _HEARD_AT)
        time_K, pitch_K = np.asarray(heard.timestamps), np.asarray(heard.pitch_hz, np.float64)
        pitch_K = np.where(np.asarray(heard.confidence) >= 0.5, pitch_K, 0.0)
        time_T = (np.arange(len(audio_L) // self.hop) + 0.5) * self.hop / self.rate
        # its frames lie elsewhere: between two that have a voice the pitch changes evenly
        near_T = np.abs(time_T[:, None] - time_K).argmin(1)
        voiced_K = pitch_K > 0
        if not voiced_K.any():
            return torch.zeros(len(time_T))
        found = np.interp(time_T, time_K[voiced_K], pitch_K[voiced_K])
        return torch.from_numpy(np.where(voiced_K[near_T], found, 0.0)).float()

    def audio(self, mel_TM: Tensor) -> Tensor:
        """Sound with about this spectrum, by the fast algorithm of Griffin and Lim, (T * hop,).

        Source: Perraudin et al., WASPAA 2013. The phases begin at 0, so the same spectrum always sounds the same.
        """
        wide = mel_TM.detach().float().cpu()
        size_FT = (wide.exp() @ self._back_MF).clamp(min=0.0).T
        hann = torch.hann_window(self.window)
        length = self.hop * (len(mel_TM) - 1)

        def sound(spectrum_FT: Tensor) -> Tensor:
            return torch.istft(spectrum_FT, self.window, self.hop, window=hann, length=length or None)

        if len(mel_TM) < 2 or length <= self.window // 2:
            return torch.zeros(self.hop * len(mel_TM))
        spectrum_FT = torch.complex(size_FT, torch.zeros_like(size_FT))
        former_FT = torch.zeros_like(spectrum_FT)
        for _ in range(_ROUNDS):
            again_FT = torch.stft(sound(spectrum_FT), self.window, self.hop, window=hann, return_complex=True)
            ahead_FT = again_FT + _MOMENTUM * (again_FT - former_FT)
            spectrum_FT = torch.polar(size_FT, ahead_FT.angle())
            former_FT = again_FT
        half = self.hop // 2
        return pad(sound(spectrum_FT), (half, self.hop - half))

    @cached_property
    def bands_FM(self) -> Tensor:
        """Triangles on Slaney's mel scale, each of area 1 in Hz, float64 (window / 2 + 1, mels)."""
        top = self.rate / 2 if self.top is None else self.top
        edge = _hz(np.linspace(_mel(0.0), _mel(top), self.mels + 2))
        hz_F1 = np.linspace(0.0, self.rate / 2, self.window // 2 + 1)[:, None]
        rise, fall = (hz_F1 - edge[:-2]) / np.diff(edge)[:-1], (edge[2:] - hz_F1) / np.diff(edge)[1:]
        bands = np.maximum(0.0, np.minimum(rise, fall)) * 2.0 / (edge[2:] - edge[:-2])
        return torch.from_numpy(bands)

    @cached_property
    def _back_MF(self) -> Tensor:
        return torch.linalg.pinv(self.bands_FM).float()


@cache
def _tracker() -> Any:
    return from_package("swift_f0", "speech", "speech").SwiftF0(threads=1)


def _resampled(sound: np.ndarray, rate: int) -> np.ndarray:
    from scipy.signal import resample_poly

    ratio = Fraction(_HEARD_AT, rate)
    found: np.ndarray = resample_poly(sound, ratio.numerator, ratio.denominator).astype(np.float32)
    return found


_BEND, _STEP, _GROWTH = 1000.0, 200.0 / 3.0, np.log(6.4) / 27.0


def _mel(hz: float) -> float:
    return hz / _STEP if hz < _BEND else _BEND / _STEP + np.log(hz / _BEND) / _GROWTH


def _hz(mel: np.ndarray) -> np.ndarray:
    high = mel >= _BEND / _STEP
    found: np.ndarray = np.where(high, _BEND * np.exp(_GROWTH * (mel - _BEND / _STEP)), mel * _STEP)
    return found
