"""What is drawn of each kind of model: the same things for every model, twice alike, and right where it is said."""

from __future__ import annotations

import dataclasses
import io
import wave
from typing import Any

import numpy as np
import pytest
import torch
from grey import Off, views
from PIL import Image
from rows import pairs

from embodkd.data import make_data
from embodkd.evaluation.judges import JUDGES
from embodkd.evaluation.samples.kept import Shown
from embodkd.evaluation.samples.pairs import found
from embodkd.evaluation.samples.pictures import looked, painted
from embodkd.evaluation.samples.sounds import said
from embodkd.evaluation.samples.texts import written
from embodkd.models import make_model


def picture(shown: Shown) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(shown.png)))


class Painter(torch.nn.Module):
    """Paints the label as a grey, and keeps the noise that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.zeros(1))

    def generate(self, noise: torch.Tensor, label_N: torch.Tensor) -> torch.Tensor:
        self.noise = noise
        return (label_N / 10)[:, None, None, None].expand(-1, 1, 8, 8)


def test_generators_draw_from_the_same_noise_a_column_for_each_class_beside_real_ones() -> None:
    data, a, b = make_data("digits", train=200), Painter(), Painter()
    [sample] = painted(a, data).rows
    torch.manual_seed(5)
    assert painted(b, data).rows[0] == sample and torch.equal(a.noise, b.noise)
    assert len(a.noise.flatten(1).unique(dim=0)) == 40
    made = picture(sample.made)
    assert [made[1, 9 * k, 0] for k in range(10)] == [round(25.5 * k) for k in range(10)]
    test, real = data.test.fields, picture(sample.truth)
    for k in range(10):
        first = test["input"][test["label"] == k][0, 0]
        assert np.abs(real[:8, 9 * k : 9 * k + 8, 0] / 255 - first.numpy()).max() < 0.5 / 255 + 1e-6
    flat = make_data("digits", train=200)
    object.__setattr__(flat, "shape", (64,))
    assert painted(a, flat).rows == ()


def test_views_of_a_scene_stand_beside_the_truth_with_their_error() -> None:
    data: Any = views([0.1, 0.01, 0.1, 0.001])
    samples = looked(Off(), data).rows
    assert [one.asked.text for one in samples] == ["view 0", "view 2", "view 3"]
    assert [one.made.text for one in samples] == ["20.0 dB", "20.0 dB", "60.0 dB"]
    assert (picture(samples[0].made) == round(0.6 * 255)).all() and (picture(samples[0].truth) == 128).all()


def test_texts_go_on_with_the_same_prompts_and_the_checker_says_which_are_right() -> None:
    pytest.importorskip("transformers", reason="extra language is not installed")
    data = make_data("sums", digits=1, train=30, validation=6, test=9)
    torch.manual_seed(0)
    model = make_model("gru_lm", **data.facts(), width=8)
    samples, again = written(model, data).rows, written(model, data).rows
    assert samples == again and len(samples) == 8
    for row, sample in enumerate(samples):
        tokens, prompt = data.test.fields["tokens"][row].tolist(), int(data.test.fields["prompt"][row])
        assert sample.asked.text == data.spelling.decode(tokens[:prompt]) and sample.asked.text.endswith("?")
        assert data.check(sample.asked.text, sample.truth.text) and not sample.truth.text.endswith("?")
        assert sample.right == data.check(sample.asked.text, sample.made.text)


def test_texts_without_a_checker_are_drawn_alike_and_nobody_says_that_they_are_right() -> None:
    pytest.importorskip("transformers", reason="extra language is not installed")
    data = dataclasses.replace(make_data("sums", digits=1, train=30, validation=6, test=9), check=None)
    model = make_model("gru_lm", **data.facts(), width=8)
    samples = written(model, data)
    torch.manual_seed(7)
    assert written(model, data) == samples and {one.right for one in samples.rows} == {None}
    assert len({one.made.text for one in samples.rows}) > 1
    assert written(torch.nn.Linear(1, 1), data).rows == ()
    assert written(model, dataclasses.replace(data, spelling=None)).rows == ()


class Spelt:
    def decode(self, tokens) -> str:
        return " ".join(map(str, tokens))


class Matcher(torch.nn.Module):
    """Knows which image belongs to which text, or takes each for its neighbour's."""

    def __init__(self, off: int) -> None:
        super().__init__()
        self.off, self.reads = off, ("sample_id",)

    def forward(self, x) -> dict[str, torch.Tensor]:
        place = torch.arange(len(x["sample_id"]))
        eye = torch.eye(len(place))
        return {"image": eye, "text": eye[(place + self.off) % len(place)]}


@pytest.mark.parametrize("off", [0, 1])
def test_towers_say_what_they_found_and_whether_it_belongs_there(off: int) -> None:
    own = pairs()
    shape = own.test.fields["image"].shape[1:]
    assert shape == (1, 8, 8)
    data = dataclasses.replace(own, spelling=Spelt(), items=None)
    samples = found(Matcher(off), data).rows
    assert len(samples) == 8 and {one.right for one in samples} == {off == 0}
    assert all((one.made == one.truth) == one.right for one in samples)
    by_image, by_text = samples[:4], samples[4:]
    assert all(one.asked.png and one.made.text and not one.made.png for one in by_image)
    assert all(one.asked.text and one.made.png and not one.made.text for one in by_text)
    assert found(Matcher(0), own).rows == (), "nobody can read these"


def test_sentences_are_kept_as_sounds_with_their_pictures_beside_those_of_the_voice() -> None:
    data = make_data("tones", train=4, validation=2, test=3, mels=16)
    torch.manual_seed(0)
    model = make_model("fastspeech2", **data.facts(), width=16, hidden=16, predictor=16)
    samples = said(model, data).rows
    assert len(samples) == 3 and said(model, data).rows == samples
    for row, sample in enumerate(samples):
        frames = len(data.test.sequences["mel"][row])
        assert picture(sample.truth).shape == (16, frames, 3)
        assert sample.truth.text == f"{frames * data.hop / data.rate:.2f} s"
        with wave.open(io.BytesIO(sample.truth.wav)) as file:
            assert (file.getnframes(), file.getframerate()) == (frames * data.hop, data.rate)
        with wave.open(io.BytesIO(sample.made.wav)) as file:
            assert file.getnframes() == picture(sample.made).shape[1] * data.hop


def test_every_judge_of_something_to_see_has_its_drawing() -> None:
    assert {word for word, judge in JUDGES.items() if judge.samples} == set(JUDGES) - {"classifier", "foreign"}


@torch.no_grad()
def test_of_who_makes_sound_that_sound_is_kept() -> None:
    data = make_data("tones", train=4, validation=2, test=2, mels=16, audio=True)
    torch.manual_seed(0)
    size = {"width": 16, "hidden": 16, "predictor": 16, "wave_channels": 4, "wave_layers": 3}
    model = make_model("fastspeech2", **data.facts(), **size, wave=True, spectra=False).eval()
    batch = data.test.gather(np.arange(2), 0)
    made = model({name: batch[name] for name in model.reads})
    for row, sample in enumerate(said(model, data).rows):
        with wave.open(io.BytesIO(sample.made.wav)) as file:
            played = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        sound = made["sound"][row, : int(made["frame_mask"][row].sum()) * data.hop]
        assert np.array_equal(played, (sound.clamp(-1, 1) * 32767).round().numpy())
