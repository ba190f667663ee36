"""What sound is learned by: slices of sentences, spectra at several resolutions, least squares of a discriminator."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core import Signals
from embodkd.core.batch.whole import drawn
from embodkd.core.recipe import Prepare
from embodkd.core.terms.base import wide
from embodkd.core.transfer import sent

RESOLUTIONS = (1, 2, 4)
"""Windows of the spectra, in hops of the data; each moves on by a quarter of itself."""
_QUIET = 1e-7


def cuts(frames: int, hop: int) -> Prepare:
    """A stage's `prepare` function: of each sentence, `frames` frames that follow each other, drawn anew each time.

    `cut` (N, frames) are their numbers, `voice` (N, frames * hop) what was said there, of the field `audio`. A shorter
    sentence is taken from its first frame, and what lies behind its end is silent.
    """

    def prepare(batch: Signals) -> dict[str, Tensor]:
        length_N, audio_NL = batch["frame_mask"].sum(1), batch["audio"]
        room_N = (length_N - frames + 1).clamp(min=1)
        chance_N = sent(drawn(batch.items_count, torch.rand), length_N.device)
        begin_N = torch.minimum((chance_N * room_N).long(), room_N - 1)
        cut_NS = begin_N[:, None] + torch.arange(frames, device=length_N.device)
        place_NL = begin_N[:, None] * hop + torch.arange(frames * hop, device=length_N.device)
        there_NL = place_NL < length_N[:, None] * hop
        voice_NL = audio_NL.gather(1, place_NL.clamp(max=audio_NL.shape[1] - 1)) * there_NL
        return {"cut": cut_NS, "voice": voice_NL}

    return prepare


@wide
def spectral_distance(sound_NL: Tensor, voice_NL: Tensor, hop: int) -> Tensor:
    """The mean over RESOLUTIONS of |S - S'| / |S| + mean |log S - log S'|, S the voice's magnitudes, (N,).

    Source: Yamamoto et al. 2020 (arXiv:1910.11480), eq. 4 to 7, each sound by itself. Minimum 0 at equality.
    """
    found = []
    for window in (hop * r for r in RESOLUTIONS):
        made_NFT, true_NFT = (_magnitudes(x, window) for x in (sound_NL, voice_NL))
        apart_N = (true_NFT - made_NFT).flatten(1).norm(dim=1) / true_NFT.flatten(1).norm(dim=1)
        found.append(apart_N + (true_NFT.log() - made_NFT.log()).abs().flatten(1).mean(1))
    return torch.stack(found).mean(0)


@wide
def fooling(scores_NL: Tensor) -> Tensor:
    """mean (1 - D(made))^2, (N,): the generator's half of Mao et al. 2017 (LSGAN), eq. 9."""
    return (1.0 - scores_NL).square().mean(1)


@wide
def telling(voice_NL: Tensor, made_NL: Tensor) -> Tensor:
    """mean (1 - D(voice))^2 + mean D(made)^2, of scores, (N,): the discriminator's half."""
    return (1.0 - voice_NL).square().mean(1) + made_NL.square().mean(1)


def _magnitudes(sound_NL: Tensor, window: int) -> Tensor:
    """Of the short-time Fourier transform with a Hann window, at least _QUIET^(1/2), (N, F, T)."""
    hann = torch.hann_window(window, dtype=sound_NL.dtype, device=sound_NL.device)
    found = torch.stft(sound_NL, window, max(1, window // 4), window=hann, pad_mode="constant", return_complex=True)
    # a root has no slope at 0
    return (found.real.square() + found.imag.square()).clamp(min=_QUIET).sqrt()
