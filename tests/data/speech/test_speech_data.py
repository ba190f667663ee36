"""Sounds and spectra, sentences made here, and real voices where they were fetched."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from embodkd.data import make_data
from embodkd.data.assets import ASSETS, get, present
from embodkd.data.speech.cut import described
from embodkd.data.speech.program import answer
from embodkd.data.speech.spectra import FLOOR, MelSpectra
from embodkd.data.speech.tones import ToneSpectra

SPECTRA = MelSpectra(22050, 256, 1024, 80, 8000.0)
SMALL = {"train": 8, "validation": 2, "test": 3, "longest": 5}


def chirp(frames: int = 60) -> torch.Tensor:
    time = np.arange(frames * 256) / 22050
    return torch.from_numpy(0.3 * np.sin(2 * np.pi * (200 + 400 * time) * time) * (1 + 0.5 * np.sin(20 * time)))


def test_bands_are_those_of_a_well_kept_library() -> None:
    audio_utils = pytest.importorskip("transformers.audio_utils", reason="extra speech is not installed")
    theirs = audio_utils.mel_filter_bank(513, 80, 0.0, 8000.0, 22050, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(SPECTRA.bands_FM.numpy(), theirs, atol=1e-6)


def test_spectra_and_energies_are_those_of_a_slow_transform() -> None:
    sound, spectra = chirp(8), MelSpectra(22050, 256, 1024, 20)
    mel, energy = spectra.mel(sound), spectra.energy(sound)
    assert mel.shape == (8, 20) and energy.shape == (8,)
    padded = np.pad(sound.numpy(), 384, mode="reflect")
    for t in (0, 3, 7):
        window = padded[256 * t : 256 * t + 1024] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024))
        magnitude = np.abs(np.fft.rfft(window))
        expected = np.log(np.maximum(magnitude @ spectra.bands_FM.numpy(), FLOOR))
        np.testing.assert_allclose(mel[t], expected, atol=1e-8)
        assert float(energy[t]) == pytest.approx(np.linalg.norm(magnitude))


def test_sound_of_a_spectrum_has_that_spectrum_and_its_length() -> None:
    sound = chirp()
    mel = SPECTRA.mel(sound)
    made = SPECTRA.audio(mel)
    assert made.shape == sound.shape and torch.equal(made, SPECTRA.audio(mel))
    loud = mel > mel.max() - 5.0
    again = SPECTRA.mel(made.double())
    assert 2 * (again - mel)[loud].abs().mean() < (mel[loud].mean() - mel[loud]).abs().mean()


def test_a_spectrum_of_hardly_any_frames_sounds_of_nothing() -> None:
    assert not SPECTRA.audio(torch.zeros(2, 80)).any() and SPECTRA.audio(torch.zeros(1, 80)).shape == (256,)


def test_sentences_of_tones_are_built_like_speech_and_follow_from_the_seed() -> None:
    one, again, other = (make_data("tones", seed=seed, **SMALL) for seed in (1, 1, 2))
    assert (one.train.size(), one.validation.size(), one.test.size()) == (8, 2, 3)
    for part in one.parts().values():
        frames = part.sequences["mel"].lengths()
        assert frames.tolist() == [int(part.sequences["duration"][k].sum()) for k in range(part.size())]
    assert torch.equal(one.train.fields["content"], again.train.fields["content"])
    assert not torch.equal(one.train.fields["content"], other.train.fields["content"])
    ids = torch.cat([part.fields["sample_id"] for part in one.parts().values()])
    assert len(ids.unique()) == 13
    sounding = make_data("tones", seed=1, audio=True, **SMALL).train.gather(np.arange(2), 0)
    assert sounding["audio"].shape[1] == sounding["mel"].shape[1] * one.hop and sounding["audio"].abs().max() <= 1


def test_the_pitch_of_tones_is_found_in_their_sound() -> None:
    data = make_data("tones", seed=1, audio=True, **SMALL)
    part = data.train
    errors, voiced = [], 0
    for k in range(part.size()):
        found, true = (
            data.spectra.pitch(torch.from_numpy(part.sequences["audio"][k])).numpy(),
            part.sequences["pitch"][k],
        )
        both = (found > 0) & (true > 0)
        voiced += (true > 0).sum()
        errors.append(np.abs(found - true)[both])
    assert sum(map(len, errors)) > 0.5 * voiced
    assert np.median(np.concatenate(errors)) < 6.0


def test_sound_is_cut_or_filled_to_its_durations() -> None:
    spectra = ToneSpectra(8000, 128, 512, 20)
    sound = np.sin(np.arange(128 * 9) * 2 * np.pi * 150 / 8000)
    for durations in ([4, 4], [6, 6]):
        found = described([0, 1], durations, sound, spectra)
        assert found is not None and len(found["mel"]) == sum(durations) and len(found["audio"]) == 128 * sum(durations)
    assert described([0], [9], np.zeros(128 * 9), spectra) is None


@pytest.mark.parametrize("name", ["piper", "flite"])
def test_a_voice_that_was_not_fetched_is_said_with_its_command(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EMBODKD_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=f"embodkd data get {name}"):
        make_data(name)


@pytest.mark.parametrize(("name", "program"), [("piper", "espeak-ng"), ("flite", "flite")])
def test_a_program_that_is_missing_is_said_with_how_to_install_it(
    name: str, program: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("EMBODKD_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda word: None)
    assert name in ASSETS
    with pytest.raises(ValueError, match=f"apt-get install {program}"):
        get(name)


@pytest.mark.parametrize("name", ["piper", "flite"])
def test_a_real_voice_says_exactly_as_long_as_it_says(name: str) -> None:
    if not present(name):
        pytest.skip(f"data {name} is not fetched: embodkd data get {name}")
    data = make_data(name, train=10, validation=2, test=3)
    for part in data.parts().values():
        frames = part.sequences["mel"].lengths()
        assert frames.tolist() == [int(part.sequences["duration"][k].sum()) for k in range(part.size())]
    assert all(len(data.texts[int(k)].split()) >= 4 for k in data.test.fields["sample_id"])


def test_flite_s_durations_are_its_sound_s_length(tmp_path) -> None:
    if shutil.which("flite") is None:
        pytest.skip("the program flite is not installed: apt-get install flite")
    from embodkd.data.speech.flite import HOP, say

    phones, durations, sound = say("the birds sang before dawn", tmp_path)
    assert len(phones) == len(durations) and min(durations) >= 0 and phones[0] == phones[-1] == "pau"
    assert abs(sum(durations) - len(sound) / HOP) <= 2


def test_espeak_s_phonemes_are_one_line_for_each_sentence() -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("the program espeak-ng is not installed: apt-get install espeak-ng")
    from embodkd.data.speech.piper import phonemes_of

    one, two = phonemes_of(["the birds sang", "a dawn"])
    assert "ð" in one and one[-1] == "." and len(two) < len(one)


def test_a_program_that_fails_is_said_with_what_it_said() -> None:
    with pytest.raises(ValueError, match=r"ls .*/nowhere: exit code 2: .*No such file"):
        answer(["ls", "/nowhere"])
    assert answer(["cat"], "hello") == "hello"
