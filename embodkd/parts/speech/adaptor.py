"""FastSpeech 2's variance adaptor: how long each phoneme is, how high and how loud each frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from embodkd.parts.speech.bins import BINS, Quantiser, linear_bins, log_bins, mel_bins
from embodkd.parts.speech.blocks import Predictor
from embodkd.parts.speech.lengths import frames_of, mean_per_phoneme, regulated, scaled_gradient
from embodkd.parts.speech.wavelets import SCALES, inverse

Level = Literal["frame", "phoneme"]


class Adaptor(nn.Module):
    """Predicts on its way what it then looks up; where the truth is shown, it looks that up instead.

    Frames: duration, lengths regulated, pitch as wavelets, energy of what holds the pitch already. Phonemes: pitch and
    energy as means over each phoneme, and then the lengths. `inputs["trunk"]` (N,): the share of the predictors'
    gradient that reaches the encoder.
    """

    def __init__(
        self, width: int, hidden: int, dropout: float, pitch: bool, energy: bool, level: Level, quantiser: Quantiser
    ) -> None:
        super().__init__()
        self.level, self.quantiser = level, quantiser
        self.duration = Predictor(width, hidden, 1, dropout)
        numbers = SCALES if level == "frame" else 1
        self.pitch = Predictor(width, hidden, numbers + 1, dropout) if pitch else None
        whole = pitch and level == "frame"
        self.moments = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)) if whole else None
        self.pitches = nn.Embedding(BINS, width) if pitch else None
        self.energy = Predictor(width, hidden, 1, dropout) if energy else None
        self.energies = nn.Embedding(BINS, width) if energy else None

    def forward(
        self, x_NXD: Tensor, inputs: Mapping[str, Tensor], pitch_2: Tensor, energy_2: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(hidden (N, T, D), signals). pitch_2, energy_2: lowest and highest of training."""
        mask_NX, true_NX, trunk_N = inputs["phoneme_mask"], inputs.get("duration"), inputs.get("trunk")
        self.trunk_N11 = 1.0 if trunk_N is None else trunk_N[:, None, None].to(x_NXD)
        log_duration_NX = self.duration(self._seen(x_NXD), mask_NX)[:, :, 0]
        duration_NX = frames_of(log_duration_NX, mask_NX) if true_NX is None else true_NX * mask_NX
        signals = {"log_duration": log_duration_NX, "duration": duration_NX}
        frames = inputs["frame_mask"].shape[1] if "frame_mask" in inputs else None
        if self.level == "phoneme":
            counted = {"pitch": lambda: inputs["pitch"] > 0, "energy": lambda: inputs["frame_mask"]}
            shown = {
                name: mean_per_phoneme(inputs[name], counts(), duration_NX)
                for name, counts in counted.items()
                if name in inputs
            }
            x_NXD = self._varied(x_NXD, mask_NX, shown, signals, pitch_2, energy_2)
        x_NTD, there_NT = regulated(x_NXD, duration_NX, frames)
        signals["frame_mask"] = there_NT
        if self.level == "frame":
            shown = {name: inputs[name] for name in ("pitch", "energy") if name in inputs}
            x_NTD = self._varied(x_NTD, there_NT, shown, signals, pitch_2, energy_2)
        return x_NTD, signals

    def _seen(self, x: Tensor) -> Tensor:
        return scaled_gradient(x, self.trunk_N11)

    def _varied(
        self,
        x_NTD: Tensor,
        mask_NT: Tensor,
        shown: Mapping[str, Tensor],
        signals: dict[str, Tensor],
        pitch_2: Tensor,
        energy_2: Tensor,
    ) -> Tensor:
        keep_NT1 = mask_NT[:, :, None].to(x_NTD)
        if self.pitch is not None and self.pitches is not None:
            signals |= self._pitch(self._seen(x_NTD), mask_NT, pitch_2)
            hz_NT = shown.get("pitch", signals["pitch"]).detach()
            bin_NT = mel_bins(hz_NT) if self.quantiser == "mel" else log_bins(hz_NT, pitch_2[0], pitch_2[1])
            x_NTD = x_NTD + self.pitches(bin_NT) * keep_NT1
        if self.energy is not None and self.energies is not None:
            share_NT = self.energy(self._seen(x_NTD), mask_NT)[:, :, 0]
            low, high = energy_2[0], energy_2[1]
            signals |= {"energy": low + share_NT * (high - low), "energy_share": share_NT}
            value_NT = shown.get("energy", signals["energy"])
            x_NTD = x_NTD + self.energies(linear_bins(value_NT, low, high)) * keep_NT1
        return x_NTD

    def _pitch(self, x_NTD: Tensor, mask_NT: Tensor, pitch_2: Tensor) -> dict[str, Tensor]:
        assert self.pitch is not None
        found_NTK = self.pitch(x_NTD, mask_NT)
        curve_NTK, unvoiced_NT = found_NTK[:, :, :-1], found_NTK[:, :, -1]
        low, high = pitch_2.log().unbind()
        middle, half = (low + high) / 2, (high - low) / 2
        signals = {"unvoiced": unvoiced_NT}
        if self.moments is None:
            curve_NTK = middle + half * curve_NTK
            hz_NT = curve_NTK[:, :, 0].clamp(0.0, 9.0).exp()
        else:
            # the mean over what is there alone: x is 0 elsewhere
            mean_ND = x_NTD.sum(1) / mask_NT.sum(1, keepdim=True).clamp(min=1)
            mean_N, spread_N = self.moments(mean_ND).to(x_NTD).unbind(1)
            mean_N, spread_N = middle + half * mean_N, half * spread_N
            hz_NT = inverse(curve_NTK, mask_NT, mean_N, spread_N)
            signals |= {"pitch_mean": mean_N, "pitch_spread": spread_N}
        hz_NT = torch.where((unvoiced_NT <= 0) & mask_NT, hz_NT, 0.0)
        return {"curve": curve_NTK, "pitch": hz_NT, **signals}
