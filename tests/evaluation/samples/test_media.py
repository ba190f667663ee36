"""Pictures and sounds as files: what is read back by other programs is what was given."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from PIL import Image

from embodkd.evaluation.samples.media import is_picture, loudness_picture, pixels, png, sheet, wav


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


@pytest.mark.parametrize("band", [0, 7, 39])
def test_the_loudest_band_is_the_brightest_row_counted_from_below_and_silence_has_a_picture(band: int) -> None:
    loudness_MF = np.full((40, 12), -60.0)
    loudness_MF[band] = -3.0
    drawn = read(loudness_picture(loudness_MF)).astype(int).sum(-1)
    assert drawn.shape == loudness_MF.shape and drawn.mean(1).argmax() == 39 - band
    assert read(loudness_picture(np.full((8, 5), -100.0))).shape == (8, 5, 3)
