"""From spoken sentences to `Speech`: parts without a common sentence, and the spectra of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embodkd.core import EndToEnd, Speech, Utterances
from embodkd.core.sources.dataset import Items
from embodkd.core.sources.speech import BY_FRAME, BY_PHONEME
from embodkd.data.partition import cut
from embodkd.data.speech.spectra import MelSpectra

Sentence = dict[str, np.ndarray]
"""phoneme and duration (X,), mel (T, M), pitch and energy (T,), audio (T * hop,)."""


def described(
    phoneme_X: Sequence[int],
    duration_X: Sequence[int],
    audio_L: np.ndarray,
    spectra: MelSpectra,
    pitch: Callable[[Tensor], Tensor] | None = None,
) -> Sentence | None:
    """What a sentence sounds like; None where there is no voice in it. The sound is cut or filled to fit the durations.

    audio_L: in [-1, 1]. pitch: finds it, by default `spectra`.
    """
    length = spectra.hop * int(sum(duration_X))
    sound = torch.from_numpy(np.pad(audio_L[:length], (0, max(0, length - len(audio_L)))).astype(np.float32))
    found = {
        "phoneme": np.asarray(phoneme_X, np.int64),
        "duration": np.asarray(duration_X, np.int64),
        "mel": spectra.mel(sound.double()).float().numpy(),
        "pitch": (spectra.pitch if pitch is None else pitch)(sound).float().numpy(),
        "energy": spectra.energy(sound.double()).float().numpy(),
        "audio": sound.numpy(),
    }
    return found if (found["pitch"] > 0).any() else None


def packed(sentences: Sequence[Sentence]) -> dict[str, Tensor]:
    """As tensors that a file holds: NAME (L, ...) end to end, and `phonemes` and `frames` (N,). Sound in 16 bits."""
    found = {name: np.concatenate([s[name] for s in sentences]) for name in (*BY_PHONEME, *BY_FRAME, "audio")}
    found["audio"] = np.round(found["audio"].clip(-1, 1) * 32767).astype(np.int16)
    counts = {"phonemes": [len(s["phoneme"]) for s in sentences], "frames": [len(s["mel"]) for s in sentences]}
    return {name: torch.as_tensor(value) for name, value in {**found, **counts}.items()}


def speech(
    tensors: Mapping[str, Tensor],
    texts: Sequence[str],
    symbols: Sequence[str],
    spectra: MelSpectra,
    sizes: Mapping[str, int],
    *,
    seed: int,
    audio: bool,
    source: str,
    where: str,
    letters: bool = True,
    **options: Any,
) -> Speech:
    """Parts of these sizes of what `packed` gives, drawn by `seed`; test items come from the end of the order, so more
    training items move none of them. audio: batches hold sound, too. letters: texts are what somebody could
    write down. options: of Utterances."""
    ends = {name: np.concatenate([[0], np.cumsum(tensors[name].numpy())]) for name in ("phonemes", "frames")}
    every: dict[str, EndToEnd] = {}
    for name in (*BY_PHONEME, *BY_FRAME, *(["audio"] if audio else [])):
        end_N1 = ends["phonemes" if name in BY_PHONEME else "frames"] * (spectra.hop if name == "audio" else 1)
        every[name] = EndToEnd(tensors[name].numpy(), end_N1)
    order = np.random.default_rng((seed, 0x5BEE)).permutation(len(texts))
    judged = cut(order[::-1], {"test": sizes["test"], "validation": sizes["validation"]}, where, rest="train")
    parts = {**judged, **cut(judged["train"][::-1], {"train": sizes["train"]}, where)}

    def part(rows: np.ndarray) -> Utterances:
        own = {name: [value[k] for k in rows] for name, value in every.items()}
        if audio:
            own["audio"] = [value.astype(np.float32) / 32767 for value in own["audio"]]
        return Utterances(own, {"sample_id": torch.from_numpy(rows.copy())}, **options)

    return Speech(
        part(parts["train"]),
        part(parts["validation"]),
        part(parts["test"]),
        symbols=tuple(symbols),
        mels=spectra.mels,
        rate=spectra.rate,
        hop=spectra.hop,
        spectra=spectra,
        texts=dict(enumerate(texts)) if letters else {},
        items=Items(source, {name: torch.from_numpy(parts[name].copy()) for name in ("train", "validation", "test")}),
    )
