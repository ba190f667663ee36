"""Models that speak: padding, what is shown and what is predicted, and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rows import attending_speaker, small_speaker
from spoken import utterances

from embodkd.models import MODELS, load_model, model_names, save_model

SHOWN = ("phoneme", "phoneme_mask", "duration", "frame_mask", "pitch", "energy")
VARIANTS: dict[str, Any] = {
    "fastspeech2": small_speaker,
    "phonemes": lambda: small_speaker(level="phoneme"),
    "plain": lambda: small_speaker(pitch=False, energy=False),
    "wave": lambda: small_speaker(wave=True, wave_channels=4, wave_layers=3),
    "mel bins": lambda: small_speaker(quantiser="mel"),
    "attention_tts": attending_speaker,
}


def made(name: str) -> Any:
    torch.manual_seed(4)
    model = VARIANTS[name]().eval()
    model.calibrate(utterances(10))
    return model


def shown(model: Any, rows: list[int], everything: bool = True, pad_to: str = "batch") -> dict[str, torch.Tensor]:
    batch = utterances(6, pad_to=pad_to).gather(np.array(rows), 0)
    attends = ("phoneme", "phoneme_mask", "mel", "frame_mask")
    names = (attends if hasattr(model, "ahead") else SHOWN) if everything else model.reads
    return {name: batch[name] for name in names}


def test_every_model_of_speech_is_tried() -> None:
    assert {n for n in model_names() if MODELS.get(n).judged_as == "speech"} == {"fastspeech2", "attention_tts"}


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_what_stands_behind_a_sentence_changes_nothing(name: str, everything: bool) -> None:
    model = made(name)
    together = model(shown(model, [0, 1, 2, 3], everything, "source"))
    for k in range(4):
        alone = model(shown(model, [k], everything))
        frames = int(alone["frame_mask"].sum())
        assert frames == int(together["frame_mask"][k].sum())
        torch.testing.assert_close(together["mel"][k, :frames], alone["mel"][0, :frames], rtol=1e-4, atol=1e-4)
        if "sound" in alone:
            samples = frames * model.hop
            torch.testing.assert_close(together["sound"][k, :samples], alone["sound"][0, :samples])
            assert (together["sound"][k, samples:] == 0).all()
        torch.testing.assert_close(together["duration"][k, : alone["duration"].shape[1]], alone["duration"][0])


@pytest.mark.parametrize("name", ["fastspeech2", "phonemes"])
@torch.no_grad()
def test_predictors_count_in_use_and_not_where_the_truth_is_shown(name: str) -> None:
    model = made(name)
    told, free = shown(model, [0, 1]), shown(model, [0, 1], everything=False)
    before, alone = model(told)["mel"], model(free)["mel"]
    for predictor in (model.adaptor.duration, model.adaptor.pitch, model.adaptor.energy):
        predictor.last.weight.add_(torch.randn_like(predictor.last.weight))
        predictor.last.bias.add_(1.0)
    assert torch.equal(model(told)["mel"], before)
    after = model(free)["mel"]
    assert after.shape != alone.shape or not torch.allclose(after, alone)


@torch.no_grad()
def test_the_predictors_of_a_frame_do_not_see_its_own_pitch_and_energy_sees_the_pitch() -> None:
    model = made("fastspeech2")
    told = shown(model, [0, 1])
    other = {**told, "pitch": told["pitch"].flip(1), "energy": told["energy"].flip(1)}
    one, two = model(told), model(other)
    assert torch.equal(one["curve"], two["curve"]) and not torch.allclose(one["energy_share"], two["energy_share"])


@torch.no_grad()
def test_the_sums_of_durations_are_the_frames() -> None:
    for name in VARIANTS:
        model = made(name)
        for everything in (True, False):
            s = model(shown(model, [0, 1, 2], everything))
            assert torch.equal(s["duration"].sum(1), s["frame_mask"].sum(1)), name


@torch.no_grad()
def test_a_step_of_the_teacher_reads_only_the_frames_before_it() -> None:
    model = made("attention_tts")
    told = shown(model, [0])
    later = {**told, "mel": told["mel"].clone()}
    later["mel"][:, 4:] += 1.0
    one, two = model(told)["mel"], model(later)["mel"]
    # frames 4 and 5 are said in the third step, and read by the fourth
    assert torch.equal(one[:, :6], two[:, :6])
    assert one.shape[1] <= 6 or not torch.equal(one[:, 6:], two[:, 6:])


@torch.no_grad()
def test_by_itself_the_teacher_goes_on_and_never_back() -> None:
    model = made("attention_tts")
    s = model(shown(model, [0, 1, 2, 3], everything=False))
    best_NS = s["attention"].argmax(-1)
    step_N = best_NS.diff(dim=1)
    assert (step_N >= 0).all() and (step_N <= model.ahead).all()
    assert (s["steps"] <= s["attention"].shape[1]).all()


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_folder_gives_the_same_model_back(name: str, tmp_path: Path) -> None:
    model = made(name)
    loaded, config = load_model(save_model(tmp_path / "model", model))
    assert (config["phonemes"], config["mels"], config["rate"], config["hop"]) == (5, 4, 4000, 32)
    told = shown(model, [0, 1], everything=False)
    one, two = model(told), loaded(told)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_widths_and_kernels_that_do_not_fit_are_said() -> None:
    with pytest.raises(ValueError, match="divide width 8"):
        small_speaker(heads=3)
    with pytest.raises(ValueError, match="kernel 4 must be odd"):
        small_speaker(kernel=4)
