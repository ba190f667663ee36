"""FastSpeech 2: encoder, variance adaptor and decoder, all frames at once."""

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

Kernel = Annotated[int, Within(1, 99)]


@MODELS.register("fastspeech2", title="spectra of all frames at once, with durations, pitch and energy")
class FastSpeech2(SpeechModel):
    """See `SpeechModel` and `Adaptor`; the signals are `mel`, `hidden` (N, T, width) and the adaptor's.

    heads, kernel (odd), hidden: of the blocks; predictor, predictor_dropout: of the adaptor's. pitch, energy: whether
    it has them; without both it is the student of FastSpeech. level: "frame" (pitch as wavelets) or "phoneme".
    ValueError for a width that the heads do not divide, or an even kernel.
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
    ) -> None:
        super().__init__(phonemes, mels, rate, hop)
        if width % heads or kernel % 2 == 0:
            raise ValueError(f"model fastspeech2: {heads} heads must divide width {width}, kernel {kernel} must be odd")
        self.pitch, self.energy = pitch, energy
        self.embedding = nn.Embedding(phonemes, width)
        self.encoder = Stack(encoder, width, heads, hidden, kernel, dropout)
        self.adaptor = Adaptor(width, predictor, predictor_dropout, pitch, energy, level, quantiser)
        self.decoder = Stack(decoder, width, heads, hidden, kernel, dropout)
        self.head = nn.Linear(width, mels)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All signals."""
        mask_NX = inputs["phoneme_mask"]
        x_NXD = self.encoder(self.embedding(inputs["phoneme"]), mask_NX)
        x_NTD, signals = self.adaptor(x_NXD, inputs, self.pitch_2, self.energy_2)
        hidden_NTD = self.decoder(x_NTD, signals["frame_mask"])
        return {"mel": self.as_spectrum(self.head(hidden_NTD)), "hidden": hidden_NTD, **signals}
