"""A teacher that speaks frame by frame: a recurrent decoder that attends to the phonemes (Tacotron 2, small)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Part, Width, Within
from embodkd.models.base import MODELS
from embodkd.models.speech.base import SpeechModel
from embodkd.parts.speech.alignment import durations, in_frames

PerStep = Annotated[int, Within(1, 16)]
Ahead = Annotated[int, Within(1, 64)]
_PLACES, _KERNEL = 16, 15
_MOST = 30
"""Frames that a phoneme has at most, on average, when the model speaks by itself."""


@MODELS.register("attention_tts", title="a recurrent teacher that attends to the phonemes")
class AttentionTTS(SpeechModel):
    """Shown `mel` and `frame_mask` it predicts each step from the frames before it; otherwise it speaks by itself.

    A step is `frames` frames. Signals: mel (N, T, mels), frame_mask, attention (N, S, X), stop (N, S) logits that the
    step is the last one, steps (N,), duration (N, X) in frames, by the largest weight of each frame. `ahead`: by itself
    the attention goes so many phonemes forward in a step at most, and never back, so that it cannot get lost.
    """

    def __init__(
        self,
        phonemes: int,
        mels: int,
        rate: int,
        hop: int,
        *,
        width: Width = 128,
        frames: PerStep = 2,
        dropout: Part = 0.5,
        ahead: Ahead = 2,
    ) -> None:
        super().__init__(phonemes, mels, rate, hop)
        self.frames, self.ahead = frames, ahead
        self.embedding = nn.Embedding(phonemes, width)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(2))
        self.before = nn.ModuleList([nn.Linear(mels, width), nn.Linear(width, width)])
        self.dropout = nn.Dropout(dropout)
        self.cell, self.cell2 = nn.GRUCell(2 * width, width), nn.GRUCell(2 * width, width)
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width)
        self.places = nn.Conv1d(2, _PLACES, _KERNEL, padding=_KERNEL // 2, bias=False)
        self.place, self.energy = nn.Linear(_PLACES, width, bias=False), nn.Linear(width, 1, bias=False)
        self.head, self.stop = nn.Linear(2 * width, mels * frames), nn.Linear(2 * width, 1)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All signals."""
        mask_NX = inputs["phoneme_mask"]
        shown = "mel" in inputs
        if shown:
            frames_N = inputs["frame_mask"].sum(1)
            told_NSM = self.normal(inputs["mel"])[:, self.frames - 1 :: self.frames]
            limit = -(-inputs["mel"].shape[1] // self.frames)
        else:
            most_N = -(-_MOST * mask_NX.sum(1) // self.frames)
            limit = int(most_N.max())
        memory_NXD = self._encoded(inputs["phoneme"], mask_NX)
        key_NXD, rows = self.key(memory_NXD), len(memory_NXD)
        state_ND = state2_ND = context_ND = memory_NXD.new_zeros(rows, memory_NXD.shape[2])
        weight_NX = torch.zeros_like(mask_NX, dtype=memory_NXD.dtype)
        weight_NX[:, 0] = 1.0
        all_NX, last_NM = weight_NX * 0.0, memory_NXD.new_zeros(rows, self.mels)
        over_N = torch.zeros(rows, dtype=torch.bool, device=mask_NX.device)
        mels, stops, weights, going = [], [], [], []
        # dropout of all steps at once: its draws are then the same however a batch is shared out
        if shown:
            first_NSD = self._before(torch.cat([last_NM[:, None], told_NSM[:, : limit - 1]], 1))
        for step in range(limit):
            first_ND = first_NSD[:, step] if shown else self._before(last_NM[:, None])[:, 0]
            state_ND = self.cell(torch.cat([first_ND, context_ND], 1), state_ND)
            places_NXP = self.places(torch.stack([weight_NX, all_NX], 1)).transpose(1, 2)
            score_NX = self.energy((self.query(state_ND)[:, None] + key_NXD + self.place(places_NXP)).tanh())[:, :, 0]
            reach_NX = mask_NX if shown else mask_NX & self._near(weight_NX)
            weight_NX = score_NX.masked_fill(~reach_NX, -torch.inf).softmax(1)
            all_NX = all_NX + weight_NX
            context_ND = torch.einsum("nx,nxd->nd", weight_NX, memory_NXD)
            state2_ND = self.cell2(torch.cat([state_ND, context_ND], 1), state2_ND)
            out_ND = torch.cat([state2_ND, context_ND], 1)
            mels.append(self.head(out_ND).unflatten(1, (self.frames, self.mels)))
            stops.append(self.stop(out_ND)[:, 0])
            weights.append(weight_NX)
            going.append(~over_N)
            last_NM = mels[-1][:, -1]
            if not shown:
                over_N = over_N | (stops[-1] > 0) | (step + 1 >= most_N)
                if bool(over_N.all()):
                    break
        steps_N = -(-frames_N // self.frames) if shown else torch.stack(going, 1).sum(1)
        frames_N = frames_N if shown else steps_N * self.frames
        width = inputs["mel"].shape[1] if shown else len(mels) * self.frames
        attention_NSX = torch.stack(weights, 1)
        return {
            "mel": self.as_spectrum(torch.cat(mels, 1)[:, :width]),
            "frame_mask": torch.arange(width, device=mask_NX.device) < frames_N[:, None],
            "attention": attention_NSX,
            "stop": torch.stack(stops, 1),
            "steps": steps_N,
            "duration": in_frames(durations(attention_NSX.detach()[:, None], steps_N), self.frames, frames_N),
        }

    def _encoded(self, phoneme_NX: Tensor, mask_NX: Tensor) -> Tensor:
        keep_NX1 = mask_NX[:, :, None].to(self.mean_M)
        x_NXD = self.embedding(phoneme_NX) * keep_NX1
        for conv in self.convs:
            x_NXD = (x_NXD + conv(x_NXD.transpose(1, 2)).transpose(1, 2).relu()) * keep_NX1
        return x_NXD

    def _before(self, mel_NSM: Tensor) -> Tensor:
        for layer in self.before:
            mel_NSM = self.dropout(layer(mel_NSM).relu())
        return mel_NSM

    def _near(self, weight_NX: Tensor) -> Tensor:
        away_NX = torch.arange(weight_NX.shape[1], device=weight_NX.device) - weight_NX.argmax(1, keepdim=True)
        return (away_NX >= 0) & (away_NX <= self.ahead)
