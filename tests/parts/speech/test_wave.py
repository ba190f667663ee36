"""Networks of sound and what they learn by: lengths, reach, padding, and slow formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Signals
from embodkd.parts.speech.sound_terms import RESOLUTIONS, cuts, fooling, spectral_distance, telling
from embodkd.parts.speech.wave import Discriminator, WaveDecoder, dilations, strides, taken


@given(st.integers(2, 1100))
def test_the_strides_multiply_to_the_hop_and_are_small_unless_they_are_prime(hop: int) -> None:
    found = strides(hop)
    assert math.prod(found) == hop and min(found) > 1
    assert all(s <= 8 or all(s % k for k in range(2, s)) for s in found)


@pytest.mark.parametrize("hop", [32, 45, 49, 97, 256])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_frame_becomes_a_hop_of_samples(hop: int, frames: int) -> None:
    torch.manual_seed(0)
    decoder = WaveDecoder(4, hop, 3, 4)
    assert decoder(torch.randn(2, frames, 4), torch.ones(2, frames, dtype=torch.bool)).shape == (2, frames * hop)


@pytest.mark.parametrize("layers", [1, 3, 5, 9])
def test_a_sample_hears_so_many_samples_on_each_side_and_none_beyond(layers: int) -> None:
    torch.manual_seed(0)
    decoder = WaveDecoder(4, 8, 16, layers).double()
    reach = decoder.reach
    # twice the sum of the dilations of kernels of three, and the sample itself
    assert 2 * reach + 1 == 1 + sum((3 - 1) * d for d in dilations(layers))
    length, middle = 2 * reach + 21, reach + 10
    x = torch.randn(1, 16, length, dtype=torch.double, requires_grad=True)
    decoder.sound(x, torch.ones(1, 1, length, dtype=torch.double))[0, middle].backward()
    heard = (x.grad[0].abs().sum(0) > 0).nonzero()[:, 0]
    assert (heard.min(), heard.max()) == (middle - reach, middle + reach)


def test_thirty_layers_are_three_stacks_of_ten() -> None:
    assert dilations(30) == tuple(2**k for k in range(10)) * 3


@torch.no_grad()
def test_what_stands_behind_a_sentence_changes_no_sample_and_is_silent() -> None:
    torch.manual_seed(0)
    decoder, x = WaveDecoder(4, 32, 5, 6).double(), torch.randn(2, 7, 4, dtype=torch.double)
    there = torch.arange(7) < torch.tensor([[7], [4]])
    together = decoder(x * there[:, :, None], there)
    alone = decoder(x[1:, :4], there[1:, :4])
    torch.testing.assert_close(together[1:, : 4 * 32], alone)
    assert (together[1, 4 * 32 :] == 0).all() and (together[0] != 0).any()


@torch.no_grad()
def test_a_slice_is_decoded_as_in_the_whole_but_for_what_it_cannot_hear() -> None:
    torch.manual_seed(0)
    decoder, x = WaveDecoder(4, 32, 5, 6).double(), torch.randn(1, 20, 4, dtype=torch.double)
    there = torch.ones(1, 20, dtype=torch.bool)
    whole, cut = decoder(x, there), torch.arange(5, 17)[None]
    part = decoder(*taken(x, there, cut))
    # the transposed layers hear less than a frame of each side
    beside = 32 + decoder.reach
    torch.testing.assert_close(part[:, beside:-beside], whole[:, 5 * 32 : 17 * 32][:, beside:-beside])
    assert not torch.allclose(part, whole[:, 5 * 32 : 17 * 32])


def test_frames_that_are_none_are_not_taken() -> None:
    x = torch.randn(1, 3, 2)
    states, there = taken(x, torch.tensor([[True, True, False]]), torch.arange(1, 6)[None])
    assert there.tolist() == [[True, False, False, False, False]]
    assert torch.equal(states[0, 0], x[0, 1]) and (states[0, 1:] == 0).all()


def test_a_discriminator_scores_each_sample_of_each_sound() -> None:
    torch.manual_seed(0)
    scores = Discriminator(4)({"voice": torch.randn(2, 50), "made": torch.randn(2, 50)})
    assert {name: s.shape for name, s in scores.items()} == dict.fromkeys(("voice", "made"), (2, 50))


def slow(sound: np.ndarray, voice: np.ndarray, hop: int) -> float:
    values = []
    for window in (hop * r for r in RESOLUTIONS):
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
        both = []
        for x in (sound, voice):
            wide, step = np.pad(x, window // 2), window // 4
            rows = [np.fft.rfft(wide[k : k + window] * hann) for k in range(0, len(wide) - window + 1, step)]
            both.append(np.sqrt(np.maximum(np.abs(rows) ** 2, 1e-7)))
        made, true = both
        apart = np.sqrt(((true - made) ** 2).sum()) / np.sqrt((true**2).sum())
        values.append(apart + np.abs(np.log(true) - np.log(made)).mean())
    return float(np.mean(values))


def test_the_spectral_distance_is_that_of_a_slow_formula_and_zero_at_equality() -> None:
    rng = np.random.default_rng(0)
    sound, voice = rng.normal(size=(2, 3, 200))
    found = spectral_distance(torch.from_numpy(sound), torch.from_numpy(voice), 16)
    expected = [slow(a, b, 16) for a, b in zip(sound, voice, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert (spectral_distance(torch.from_numpy(voice), torch.from_numpy(voice), 16) == 0).all()


@pytest.mark.parametrize("quiet", ["sound", "voice", "both"])
def test_silence_has_a_distance_and_a_slope(quiet: str) -> None:
    torch.manual_seed(0)
    sound, voice = torch.randn(2, 100), torch.randn(2, 100)
    sound = torch.zeros(2, 100) if quiet != "voice" else sound
    voice = torch.zeros(2, 100) if quiet != "sound" else voice
    sound.requires_grad_()
    found = spectral_distance(sound, voice, 8)
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(sound.grad).all()


def test_least_squares_are_those_of_the_paper() -> None:
    voice, made = torch.tensor([[1.0, 0.5]]), torch.tensor([[0.0, -1.0]])
    assert telling(voice, made).tolist() == [pytest.approx((0.0 + 0.25) / 2 + (0.0 + 1.0) / 2)]
    assert fooling(made).tolist() == [pytest.approx((1.0 + 4.0) / 2)]
    assert fooling(torch.ones(1, 3)) == 0 and telling(torch.ones(1, 3), torch.zeros(1, 3)) == 0


def sentences(lengths: list[int], hop: int) -> Signals:
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    # every sample tells its place
    audio = (1.0 + torch.arange(longest * hop)) * mask.repeat_interleave(hop, 1)
    return Signals(frame_mask=mask, audio=audio)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 6), st.integers(0, 99))
def test_a_slice_lies_in_its_sentence_and_its_sound_is_that_of_its_frames(
    lengths: list[int], frames: int, seed: int
) -> None:
    torch.manual_seed(seed)
    found = cuts(frames, 4)(sentences(lengths, 4))
    for length, cut, voice in zip(lengths, found["cut"], found["voice"], strict=True):
        begin = int(cut[0])
        assert cut.tolist() == list(range(begin, begin + frames))
        assert 0 <= begin <= max(0, length - frames)
        inside = max(0, min(length - begin, frames)) * 4
        assert voice[:inside].tolist() == [1.0 + begin * 4 + k for k in range(inside)]
        assert (voice[inside:] == 0).all()


def test_every_beginning_is_drawn() -> None:
    torch.manual_seed(0)
    prepare, batch = cuts(3, 2), sentences([5] * 64, 2)
    assert set(prepare(batch)["cut"][:, 0].tolist()) == {0, 1, 2}
