"""The voices of Debian's program flite, which says when each phone ends: small, and the same every time.

`embodkd data get flite` says the sentences once.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from embodkd.core import Speech
from embodkd.core.config.ranges import Count, Seed
from embodkd.core.runs.progress import progress
from embodkd.data.assets import ASSETS, load
from embodkd.data.registry import DATA
from embodkd.data.speech.cut import Sentence, described, packed, speech
from embodkd.data.speech.program import answer, require
from embodkd.data.speech.sentences import some
from embodkd.data.speech.spectra import MelSpectra

RATE, HOP, MELS, VOICE = 16000, 256, 80, "slt"
SENTENCES, SEED = 520, 0
SPECTRA = MelSpectra(RATE, HOP, 1024, MELS)


@DATA.register(
    "flite",
    title="short sentences by flite's voice slt",
    licence="flite's own (BSD-like), WordNet sentences",
    kind="speech",
    asset="flite",
)
def flite(
    *, seed: Seed = 0, train: Count = 440, validation: Count = 20, test: Count = 60, audio: bool = False
) -> Speech:
    """Sentences of WordNet's examples of use. audio: batches hold the sound, too."""
    tensors, origin = load("flite")
    sizes = {"train": train, "validation": validation, "test": test}
    texts, symbols = origin["sentences"], origin["symbols"]
    return speech(
        tensors, texts, symbols, SPECTRA, sizes, seed=seed, audio=audio, source="flite slt", where="data flite"
    )


@ASSETS.register("flite", title="speech of flite's voice slt", size=f"{SENTENCES} sentences, said in half a minute")
def fetch(work: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `packed` gives, the sentences and the symbols of their phones."""
    require("flite", "flite")
    said: list[Sentence] = []
    kept, numbers = [], dict[str, int]()
    with progress(SENTENCES, "data flite") as bar:
        for text in some(SENTENCES, SEED):
            phones, duration_X, audio_L = say(text, work)
            for phone in phones:
                numbers.setdefault(phone, len(numbers))
            found = described([numbers[phone] for phone in phones], duration_X, audio_L, SPECTRA)
            if found is not None:
                said.append(found)
                kept.append(text)
            bar.advance(1)
    licence = "flite's own, WordNet sentences"
    origin = {"source": f"flite -voice {VOICE}", "licence": licence, "sentences": kept, "symbols": list(numbers)}
    return packed(said), origin


def say(text: str, work: Path) -> tuple[list[str], list[int], np.ndarray]:
    """(phones, their durations in frames, the sound in [-1, 1]) of a sentence."""
    file = work / "said.wav"
    said = answer(["flite", "-voice", VOICE, "-psdur", "-t", f"{text}.", "-o", str(file)])
    told = [word.rsplit(":", 1) for word in said.split()]
    with wave.open(str(file)) as opened:
        if opened.getframerate() != RATE:
            raise ValueError(f"flite speaks at {opened.getframerate()} Hz, expected {RATE}: use its voice {VOICE}")
        audio_L = np.frombuffer(opened.readframes(opened.getnframes()), np.int16) / 32768.0
    # ends are rounded, not lengths, so that no error adds up
    end_X = np.round(np.array([float(end) for _, end in told]) * RATE / HOP).astype(int)
    return [phone for phone, _ in told], np.diff(end_X, prepend=0).tolist(), audio_L
