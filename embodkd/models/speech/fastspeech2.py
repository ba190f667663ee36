"""FastSpeech 2: encoder, variance adaptor and decoder, all frames at once; and 2s, which decodes the sound itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from torch import Tensor, nn

from embodkd.core.config.ranges import Count, Depth, Part, Width, Within
from embodkd.models.base import MODELS
from embodkd.models.speech.base import SpeechModel
from embodkd.parts.speech.adaptor import Adaptor, Level
from embodkd.parts.speech.bins import Quantiser
from embodkd.parts.speech.blocks import Stack
from embodkd.parts.speech.wave import WaveDecoder, taken

Kernel = Annotated[int, Within(1, 99)]


@MODELS.register("fastspeech2", title="spectra of all frames at once, with durations, pitch and energy")
class FastSpeech2(SpeechModel):
    """See `SpeechModel` and `Adaptor`; the signals are `mel`, `hidden` (N, T, width) and the adaptor's.

    heads, kernel (odd), hidden: of the blocks; predictor, predictor_dropout: of the adaptor's. pitch, energy: whether
    it has them; without both it is the student of FastSpeech. level: "frame" (pitch as wavelets) or "phoneme".
    wave: FastSpeech 2s, whose signal `sound` (N, T * hop) is decoded from what the adaptor gives, or, shown the numbers
    of frames `cut` (N, S), that of these frames; wave_channels, wave_layers: of its gated layers. spectra: it decodes
    spectra, which 2s needs only to learn: `without_spectra` there is neither `mel` nor `hidden`.
    ValueError for a width that the heads do not divide, an even kernel, or a model that decodes nothing.
    """

    def __init__(
        self,
        phonemes: int,
        mels: int,
        rate: int,
        hop: int,
        *,
        width: Width = 96,
        encoder: Depth = 2,
        decoder: Depth = 2,
        heads: Count = 2,
        hidden: Width = 256,
        kernel: Kernel = 9,
        dropout: Part = 0.1,
        predictor: Width = 96,
        predictor_dropout: Part = 0.5,
        pitch: bool = True,
        energy: bool = True,
        level: Level = "frame",
        quantiser: Quantiser = "log",
        wave: bool = False,
        wave_channels: Width = 64,
        wave_layers: Depth = 30,
        spectra: bool = True,
    ) -> None:
        super().__init__(phonemes, mels, rate, hop)
        if width % heads or kernel % 2 == 0:
            raise ValueError(f"model fastspeech2: {heads} heads must divide width {width}, kernel {kernel} must be odd")
        if not (wave or spectra):
            raise ValueError(
                "model fastspeech2: spectra=false leaves nothing that it decodes; set wave=true, or spectra"
            )
        self.pitch, self.energy = pitch, energy
        self.embedding = nn.Embedding(phonemes, width)
        self.encoder = Stack(encoder, width, heads, hidden, kernel, dropout)
        self.adaptor = Adaptor(width, predictor, predictor_dropout, pitch, energy, level, quantiser)
        if spectra:
            self.decoder = Stack(decoder, width, heads, hidden, kernel, dropout)
            self.head = nn.Linear(width, mels)
        else:
            self.golden_signal = "sound"  # type: ignore[misc] # of a class but for this one
        self.wave = WaveDecoder(width, hop, wave_channels, wave_layers) if wave else None

    @property
    def spectra(self) -> bool:
        """Whether it decodes spectra."""
        return hasattr(self, "decoder")

    def without_spectra(self) -> None:
        """Let go of the decoder of spectra; ValueError where sound is not decoded either."""
        if self.wave is None:
            raise ValueError("model fastspeech2: wave=false leaves nothing that it decodes without spectra")
        if self.spectra:
            del self.decoder, self.head
            self.arguments, self.golden_signal = {**self.arguments, "spectra": False}, "sound"  # type: ignore[misc]

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All signals."""
        mask_NX = inputs["phoneme_mask"]
        x_NXD = self.encoder(self.embedding(inputs["phoneme"]), mask_NX)
        x_NTD, signals = self.adaptor(x_NXD, inputs, self.pitch_2, self.energy_2)
        there_NT = signals["frame_mask"]
        if self.spectra:
            hidden_NTD = self.decoder(x_NTD, there_NT)
            signals = {"mel": self.as_spectrum(self.head(hidden_NTD)), "hidden": hidden_NTD, **signals}
        if self.wave is not None:
            signals["sound"] = self.wave(
                *(taken(x_NTD, there_NT, inputs["cut"]) if "cut" in inputs else (x_NTD, there_NT))
            )
        return signals
