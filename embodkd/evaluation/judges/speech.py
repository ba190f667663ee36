"""What a speaker is judged by: how its sentences differ from those that the voice said, at whatever pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from embodkd.core import Role, Speech
from embodkd.core.config.registry import Registry
from embodkd.core.ranks import ranks
from embodkd.evaluation.judgement import Judgement
from embodkd.evaluation.judges import whisper
from embodkd.evaluation.judges.warped import warped
from embodkd.evaluation.result import Episode
from embodkd.parts.speech.spoken import Spoken, spoken

MEASURES = Registry("measure of speech")
"""Functions (said: Said) -> float, with `better=`, `unit=`; `written=` for those that read what was said."""

CEPSTRA = 13
GOOD = 3.0
"""dB of mel-cepstral distortion, of a sentence that counts as said rightly: students of whom Whisper writes down more
than half of the words wrongly have 4.1 (flite) and 4.6 (piper)."""


@dataclass(frozen=True)
class Said:
    """Of N sentences: distortion_N (dB) and spectrum_N (nats) along the warped path; hertz_N, the mean squared
    difference of pitch where both have a voice, all of the true pitch where they never do at once; seconds_N, the mean
    absolute error of a phoneme's duration; wrong_N of words_N words that a listener, where there is
    one, wrote down otherwise."""

    distortion_N: Tensor
    spectrum_N: Tensor
    hertz_N: Tensor
    seconds_N: Tensor
    wrong_N: Tensor | None = None
    words_N: Tensor | None = None


@MEASURES.register("mcd", better="lower", unit="dB", written=False)
def mcd(said: Said) -> float:
    """Mel-cepstral distortion, 10 sqrt(2 sum (c - c')^2) / ln 10 over 13 coefficients without the first."""
    return said.distortion_N.mean().item()


@MEASURES.register("mel_mae", better="lower", unit="nats", written=False)
def mel_mae(said: Said) -> float:
    """Mean absolute difference of the log-mels."""
    return said.spectrum_N.mean().item()


@MEASURES.register("f0_rmse", better="lower", unit="Hz", written=False)
def f0_rmse(said: Said) -> float:
    """Root of the mean over sentences of the squared difference of pitch, where both have a voice."""
    return said.hertz_N.mean().sqrt().item()


@MEASURES.register("duration_mae", better="lower", unit="ms", written=False)
def duration_mae(said: Said) -> float:
    """Mean absolute error of the phonemes' durations."""
    return 1000.0 * said.seconds_N.mean().item()


@MEASURES.register("word_error", better="lower", unit="%", written=True)
def word_error(said: Said) -> float:
    """Words that Whisper-base writes down wrongly, of all words."""
    assert said.wrong_N is not None and said.words_N is not None, "asked where there is a listener"
    return 100.0 * (said.wrong_N.sum() / said.words_N.sum()).item()


def measured(
    product: nn.Module, data: Speech, classify: Any = None, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Every measure on the test by its name; word_error where the listener's package and the texts are there."""
    return _measures(sayings(product, data, "test", device, listens=whisper.present()))


def judgement(model: nn.Module, data: Speech, part: str, device: torch.device | str) -> Judgement:
    """Judge `model` sentence by sentence: one succeeds with a distortion below GOOD; its return is minus that."""
    judged = data.part(part)
    said = sayings(model, data, part, device, listens=whisper.present())
    rows = zip(judged.fields["sample_id"].tolist(), said.distortion_N.tolist(), strict=True)
    outcomes = tuple(
        Episode(item, decibels < GOOD, None if decibels < GOOD else f"{GOOD:.0f} dB or more", -decibels, 1)
        for item, decibels in rows
    )
    success = f"a mel-cepstral distortion below {GOOD:.0f} dB"
    return Judgement(outcomes, success, _measures(said), "sentences")


def sayings(
    product: nn.Module, data: Speech, part: str, device: torch.device | str = "cpu", *, listens: bool = False
) -> Said:
    """What `product` says of a part of `data` beside what the voice said. Of several ranks each takes its share."""
    judged, ask = data.part(part), Role(product.to(device), "frozen").signals
    own, pieces = list(ranks().share(range(judged.size()))), []
    for row, told in zip(own, spoken(judged, own, ask, device, data.spectra), strict=True):
        pieces.append(_beside(told, data, part, row, listens))
    columns = [torch.tensor(column, dtype=torch.double) for column in zip(*ranks().merged(pieces), strict=True)]
    return Said(*columns)


def _beside(told: Spoken, data: Speech, part: str, row: int, listens: bool) -> Any:
    mel_TM, duration_X, sound_L = told
    true = {name: value[row] for name, value in data.part(part).sequences.items()}
    found_TC, true_TC = cepstra(mel_TM), cepstra(true["mel"])
    path_P2 = warped(cdist(found_TC, true_TC))
    here_P, there_P = path_P2.T
    distance_P = np.sqrt(2.0 * ((found_TC[here_P] - true_TC[there_P]) ** 2).sum(1)) * 10.0 / np.log(10.0)
    if sound_L is None:
        sound_L = data.spectra.audio(torch.from_numpy(mel_TM))
    hz_T = data.spectra.pitch(sound_L).numpy()
    hz_P, true_P = hz_T[here_P], true["pitch"][there_P]
    both_P = (hz_P > 0) & (true_P > 0)
    wrong_P = (hz_P - true_P)[both_P] if both_P.any() else true["pitch"][true["pitch"] > 0]
    squared = float((wrong_P.astype(np.float64) ** 2).mean())
    late = float(np.abs(duration_X - true["duration"]).mean()) * data.hop / data.rate
    values = (float(distance_P.mean()), float(np.abs(mel_TM[here_P] - true["mel"][there_P]).mean()), squared, late)
    text = data.texts.get(int(data.part(part).fields["sample_id"][row]))
    return (*values, *whisper.misheard(sound_L, data.rate, text)) if listens and text is not None else values


def cepstra(mel_TM: np.ndarray) -> np.ndarray:
    """Mel-cepstra 1 to CEPSTRA, (T, CEPSTRA): a log-mel is c_0 and the sum of c_k cos(pi k (m + 1/2) / M)."""
    found: np.ndarray = dct(mel_TM.astype(np.float64), type=2, axis=1)[:, 1 : CEPSTRA + 1] / mel_TM.shape[1]
    return found


def _measures(said: Said) -> dict[str, float]:
    names = [name for name in MEASURES if said.words_N is not None or not MEASURES.metadata(name)["written"]]
    return {name: MEASURES.get(name)(said) for name in names}
