"""Networks of sound: FastSpeech 2s's decoder from hidden states to samples, and who tells its sound from a voice's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

_STACKS, _LARGEST, _SLOPE = 3, 8, 0.2
_LAYERS = 10
"""Of the discriminator."""


def strides(hop: int) -> tuple[int, ...]:
    """Whole factors of `hop`, the largest first, each at most 8 unless it is prime; their product is `hop`."""
    found, rest, factor = [1], hop, 2
    while rest > 1:
        while rest % factor:
            factor += 1
        rest //= factor
        if found[-1] * factor <= _LARGEST:
            found[-1] *= factor
        else:
            found.append(factor)
    return tuple(sorted((f for f in found if f > 1), reverse=True))


def dilations(layers: int) -> tuple[int, ...]:
    """Of so many layers: powers of two that begin again at 1, three times over."""
    period = -(-layers // _STACKS)
    return tuple(2 ** (layer % period) for layer in range(layers))


def taken(x_NTD: Tensor, there_NT: Tensor, cut_NS: Tensor) -> tuple[Tensor, Tensor]:
    """The states of the frames with these numbers, zeros for those that are none, (N, S, D); which there are."""
    place_NS = cut_NS.clamp(max=there_NT.shape[1] - 1)
    there_NS = there_NT.gather(1, place_NS) & (cut_NS < there_NT.shape[1])
    x_NSD = x_NTD.gather(1, place_NS[:, :, None].expand(-1, -1, x_NTD.shape[2]))
    return x_NSD * there_NS[:, :, None].to(x_NTD), there_NS


class WaveDecoder(nn.Module):
    """(N, T, D) -> sound (N, T * hop): transposed convolutions up to the samples, then dilated gated ones.

    The gated layers are WaveNet's, not causal: a sample hears `reach` samples on each side of what comes out of the
    transposed ones. Source: Ren et al. 2021, section 2.5, after Yamamoto et al. 2020 (Parallel WaveGAN), without noise.
    """

    def __init__(self, width: int, hop: int, channels: int, layers: int) -> None:
        super().__init__()
        self.strides, self.dilations = strides(hop), dilations(layers)
        widths = [width, *(channels for _ in self.strides)]
        # an output is as long as its input times the stride, be that odd or even
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(a, b, 2 * s, s, padding=(s + 1) // 2, output_padding=s % 2)
            for a, b, s in zip(widths, widths[1:], self.strides, strict=False)
        )
        self.gates = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 3, dilation=d, padding=d) for d in self.dilations)
        self.outs = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 1) for _ in self.dilations)
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.Conv1d(channels, 1, 1))

    @property
    def reach(self) -> int:
        """Samples on each side that the gated layers hear."""
        return sum(self.dilations)

    def forward(self, x_NTD: Tensor, there_NT: Tensor) -> Tensor:
        """Sound, zeros behind the ends."""
        x_NCL, keep_N1L = x_NTD.transpose(1, 2), there_NT[:, None].to(x_NTD)
        for layer, stride in zip(self.up, self.strides, strict=True):
            keep_N1L = keep_N1L.repeat_interleave(stride, 2)
            x_NCL = leaky_relu(layer(x_NCL), _SLOPE) * keep_N1L
        return self.sound(x_NCL, keep_N1L)

    def sound(self, x_NCL: Tensor, keep_N1L: Tensor) -> Tensor:
        """What the gated layers make of states of samples, (N, L)."""
        heard_NCL = torch.zeros_like(x_NCL)
        for gate, out in zip(self.gates, self.outs, strict=True):
            signal_NCL, open_NCL = gate(x_NCL).chunk(2, 1)
            more_NCL, here_NCL = out(signal_NCL.tanh() * open_NCL.sigmoid()).chunk(2, 1)
            x_NCL = (x_NCL + more_NCL) * 0.5**0.5 * keep_N1L
            heard_NCL = heard_NCL + here_NCL
        found: Tensor = self.last(heard_NCL * len(self.gates) ** -0.5) * keep_N1L
        return found[:, 0]


class Discriminator(nn.Module):
    """{name: sound (N, L)} -> {name: scores (N, L)}, near 1 for a voice's sound: Parallel WaveGAN's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [1, *(channels for _ in range(_LAYERS - 1)), 1]
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, 3, dilation=d, padding=d)
            for a, b, d in zip(widths, widths[1:], _growing(_LAYERS), strict=False)
        )

    def forward(self, sounds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores of each sample of each sound."""
        return {name: self._scores(sound_NL) for name, sound_NL in sounds.items()}

    def _scores(self, sound_NL: Tensor) -> Tensor:
        x_NCL = sound_NL[:, None]
        for layer in self.layers[:-1]:
            x_NCL = leaky_relu(layer(x_NCL), _SLOPE)
        found: Tensor = self.layers[-1](x_NCL)
        return found[:, 0]


def _growing(layers: int) -> Iterator[int]:
    yield 1
    yield from range(1, layers - 1)
    yield 1
