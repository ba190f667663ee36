"""Pictures and sounds as files: what is read back by other programs is what was given."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from PIL import Image

from embodkd.evaluation.samples.media import is_picture, mel, mel_picture, pixels, png, sheet, wav


def read(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_picture_comes_back_pixel_by_pixel_and_colours_are_cut_off_at_black_and_white() -> None:
    images_NCHW = np.random.default_rng(0).normal(0.5, 0.5, (3, 3, 4, 5))
    shown_NHWC = pixels(images_NCHW)
    for picture, image in zip(shown_NHWC, images_NCHW, strict=True):
        wanted = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
        assert (read(png(picture)) == wanted).all()
    grey_NHWC = pixels(images_NCHW[:, :1])
    assert grey_NHWC.shape == (3, 4, 5, 3) and (grey_NHWC == grey_NHWC[..., :1]).all()
    assert is_picture((3, 4, 5)) and is_picture((1, 8, 8)) and not is_picture((6,)) and not is_picture((2, 8, 8))


def test_a_sheet_has_its_pictures_row_by_row_with_a_line_between() -> None:
    pictures = np.stack([np.full((2, 3, 3), k, np.uint8) for k in range(5)])
    found = sheet(pictures, 3)
    assert found.shape == (2 * 3 - 1, 3 * 4 - 1, 3)
    for k in range(5):
        top, left = k // 3 * 3, k % 3 * 4
        assert (found[top : top + 2, left : left + 3] == k).all()
    assert (found[2] == 128).all() and (found[:, 3] == 128).all()


@pytest.mark.parametrize("rate", [8000, 22050])
def test_a_sound_comes_back_sample_by_sample(rate: int) -> None:
    sound_T = np.concatenate([np.sin(np.arange(1000) / 7), [2.0, -3.0]])
    with wave.open(io.BytesIO(wav(sound_T, rate))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2)
        back_T = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    assert np.abs(back_T - sound_T.clip(-1, 1)).max() <= 0.5 / 32767 + 1e-9


@pytest.mark.parametrize("hertz", [220.0, 1000.0, 3500.0])
def test_a_tone_is_loudest_in_the_band_of_its_pitch_and_drawn_there(hertz: int) -> None:
    rate, bands = 16000, 60
    loudness_MF = mel(np.sin(2 * np.pi * hertz * np.arange(rate) / rate), rate, bands)
    assert loudness_MF.shape == (bands, 1 + rate // 256)
    band = loudness_MF[:, 5:-8].mean(1).argmax()
    centre = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2)[1:-1] / 2595) - 1)
    step = np.diff(centre)[min(band, bands - 2)]
    assert abs(centre[band] - hertz) <= step
    drawn = read(mel_picture(loudness_MF)).astype(int).sum(-1)
    assert drawn.shape == loudness_MF.shape and abs(int(drawn[:, 5:-8].mean(1).argmax()) - (bands - 1 - band)) == 0


def test_twice_as_loud_is_six_decibels_more_and_silence_has_a_picture() -> None:
    noise_T = np.random.default_rng(0).normal(size=4000)
    assert np.allclose(mel(2 * noise_T, 8000) - mel(noise_T, 8000), 20 * np.log10(2), atol=1e-6)
    assert read(mel_picture(mel(np.zeros(4000), 8000))).shape == (80, 16, 3)
