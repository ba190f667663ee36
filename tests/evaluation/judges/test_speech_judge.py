"""The judge of speech, against slow formulas and speakers whose errors are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spoken import HOP, RATE, speech
from torch import Tensor, nn

from embodkd.data import make_data
from embodkd.evaluation.judges import JUDGES, judge_of, whisper
from embodkd.evaluation.judges.speech import MEASURES, cepstra, measured
from embodkd.evaluation.judges.warped import warped


class Echo(nn.Module):
    """Says what the voice said, all bands `louder` by so much, each frame `times`, each phoneme so much `longer`."""

    judged_as = "speech"
    reads = ("phoneme", "phoneme_mask", "duration", "mel", "frame_mask")

    def __init__(self, louder: float = 0.0, times: int = 1, longer: int = 0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))
        self.louder, self.times, self.longer = louder, times, longer

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mel = inputs["mel"].repeat_interleave(self.times, 1) + self.louder
        mask = inputs["frame_mask"].repeat_interleave(self.times, 1)
        return {"mel": mel, "frame_mask": mask, "duration": inputs["duration"] + self.longer}


class Dumb:
    """Spectra that sound of nothing."""

    def audio(self, mel_TM: Tensor) -> Tensor:
        return torch.zeros(HOP * len(mel_TM))

    def pitch(self, audio_L: Tensor) -> Tensor:
        return torch.zeros(len(audio_L) // HOP)


class Muted:
    """Spectra of which nobody makes sound."""

    def __init__(self, spectra: Any) -> None:
        self.mel, self.pitch = spectra.mel, spectra.pitch


class Player(nn.Module):
    """Plays the voice's own sound, from `start` frames on, beside a spectrum of nonsense."""

    judged_as = "speech"
    reads = ("phoneme", "phoneme_mask", "duration", "audio", "frame_mask")

    def __init__(self, start: int = 0) -> None:
        super().__init__()
        self.start = start

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mask, hop = inputs["frame_mask"][:, self.start :], inputs["audio"].shape[1] // inputs["frame_mask"].shape[1]
        return {
            "sound": inputs["audio"][:, self.start * hop :],
            "mel": torch.full((*mask.shape, 40), 7.0),
            "frame_mask": mask,
            "duration": inputs["duration"],
        }


def slow(cost: np.ndarray) -> float:
    best: dict[tuple[int, int], float] = {}
    for s in range(cost.shape[0]):
        for t in range(cost.shape[1]):
            before = [best[p] for p in ((s - 1, t - 1), (s - 1, t), (s, t - 1)) if p in best]
            best[s, t] = cost[s, t] + min(before, default=0.0)
    return best[cost.shape[0] - 1, cost.shape[1] - 1]


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))
def test_no_path_costs_less_and_each_goes_one_on(first: int, second: int, seed: int) -> None:
    cost = np.random.default_rng(seed).random((first, second))
    path = warped(cost)
    assert path[0].tolist() == [0, 0] and path[-1].tolist() == [first - 1, second - 1]
    assert {tuple(step) for step in np.diff(path, axis=0).tolist()} <= {(1, 1), (0, 1), (1, 0)}
    assert cost[path[:, 0], path[:, 1]].sum() == pytest.approx(slow(cost))


def test_cepstra_are_those_of_a_slow_transform() -> None:
    mel = np.random.default_rng(0).normal(size=(3, 20))
    k, m = np.arange(1, 14)[:, None], np.arange(20)
    basis = np.cos(np.pi * k * (m + 0.5) / 20)
    np.testing.assert_allclose(cepstra(mel), 2 / 20 * mel @ basis.T, atol=1e-12)
    # what is made of them has them: a decibel of each is one of the spectrum
    np.testing.assert_allclose(cepstra(np.full((1, 20), 3.0) + np.eye(13)[:2] @ basis), np.eye(13)[:2], atol=1e-12)


@pytest.fixture(scope="module")
def data() -> Any:
    return make_data("tones", train=4, validation=2, test=3, longest=5)


def test_a_perfect_echo_errs_in_nothing_but_what_sound_loses(data: Any) -> None:
    found = measured(Echo(), data)
    assert found["mcd"] == found["mel_mae"] == found["duration_mae"] == 0.0
    assert 0.0 < found["f0_rmse"] < 60.0


def test_who_makes_sound_is_judged_by_it_and_by_no_vocoder() -> None:
    data = make_data("tones", train=4, validation=2, test=3, longest=5, audio=True)
    found = measured(Player(), data)
    # the spectrum of the sound is the data's but for its rounding to 16 bits
    assert found["mcd"] < 0.2 and found["mel_mae"] < 0.05 and found["duration_mae"] == 0.0
    object.__setattr__(data, "spectra", Muted(data.spectra))
    again = measured(Player(), data)
    assert again == found and 0.0 < found["f0_rmse"] < 60.0


def test_a_sound_of_a_single_frame_is_judged_too() -> None:
    data = make_data("tones", train=4, validation=2, test=1, longest=5, audio=True)
    frames = len(data.test.sequences["mel"][0])
    assert np.isfinite(list(measured(Player(frames - 1), data).values())).all()


def test_the_pace_alone_costs_nothing_and_loudness_only_in_the_spectrum(data: Any) -> None:
    assert measured(Echo(times=2), data)["mel_mae"] == 0.0
    found = measured(Echo(louder=0.5), data)
    assert found["mcd"] == pytest.approx(0.0, abs=1e-5) and found["mel_mae"] == pytest.approx(0.5, rel=1e-5)


def test_durations_are_milliseconds_of_each_phoneme() -> None:
    found = measured(Echo(longer=2), speech())
    assert found["duration_mae"] == pytest.approx(2000.0 * HOP / RATE)


def test_who_never_has_a_voice_errs_by_all_of_the_pitch() -> None:
    data = speech()
    object.__setattr__(data, "spectra", Dumb())
    true = [data.test.sequences["pitch"][k] for k in range(6)]
    expected = np.sqrt(np.mean([(hz[hz > 0] ** 2).mean() for hz in true]))
    assert measured(Echo(), data)["f0_rmse"] == pytest.approx(expected)


def test_an_evaluation_counts_sentences_that_are_said_well(data: Any) -> None:
    result = judge_of(Echo(), data).evaluated(Echo(), data, {"name": "tones"})
    assert [outcome.success for outcome in result.outcomes] == [True] * 3
    assert result.manifest["measures"]["mcd"] == 0.0 and result.protocol["unit"] == "sentences"


def test_all_measures_are_better_when_lower() -> None:
    assert JUDGES["speech"].measures is MEASURES
    assert {MEASURES.metadata(name)["better"] for name in MEASURES} == {"lower"}


def test_words_that_are_heard_otherwise_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jiwer", reason="extra speech is not installed")
    monkeypatch.setattr(whisper, "written", lambda sound, rate: " The bird sang, before the dawn!")
    assert whisper.misheard(torch.zeros(1), 22050, "the birds sang before dawn") == (2.0, 5.0)
