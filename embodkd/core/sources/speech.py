"""A data set of speech: sentences as phonemes with their durations, and what each frame sounds like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from embodkd.core.signals import Signals
from embodkd.core.sources.dataset import DataSet, Items, Spelling
from embodkd.core.sources.ragged import EndToEnd, Ragged
from embodkd.core.sources.source import TensorData

BY_PHONEME, BY_FRAME = ("phoneme", "duration"), ("mel", "pitch", "energy")
_MASKS = {"phoneme": "phoneme_mask", "mel": "frame_mask"}


class Utterances(TensorData):
    """Sentences of different lengths: a batch is padded to its longest ones, `order` puts like lengths together.

    sequences: `phoneme` (X,) whole numbers and `duration` (X,), in frames; `mel` (T, M) logarithms of a mel spectrum,
    `pitch` (T,) in Hz, 0 where there is no voice, and `energy` (T,); T is the sum of the durations. `audio` (T * hop,)
    in [-1, 1], if there, has no mask. fields: more of each sentence. A batch has `phoneme_mask` (N, X) and `frame_mask`
    (N, T), true where something is. pad_to: as in Ragged; what draws by place (dropout) is the same on several
    processes only with "source". ValueError for lengths that do not agree, and for a sentence without a voiced frame.
    """

    def __init__(
        self,
        sequences: Mapping[str, Any],
        fields: Mapping[str, Tensor | np.ndarray] | None = None,
        *,
        pad_to: Literal["batch", "source"] = "batch",
        bucket: int = 8,
    ) -> None:
        self.sequences = {name: EndToEnd.of(value) for name, value in sequences.items()}
        if missing := [name for name in (*BY_PHONEME, *BY_FRAME) if name not in self.sequences]:
            raise ValueError(f"utterances lack {' and '.join(missing)}; they have {', '.join(self.sequences)}")
        phonemes, frames = (self.sequences[name].lengths() for name in ("phoneme", "mel"))
        wanted = {"duration": phonemes, "pitch": frames, "energy": frames}
        spoken = np.array([int(self.sequences["duration"][k].sum()) for k in range(len(frames))])
        wrong = [name for name, length_N in wanted.items() if (self.sequences[name].lengths() != length_N).any()]
        if wrong or (spoken != frames).any():
            what = f"{' and '.join(wrong)}: other lengths than" if wrong else "durations whose sum is not that of"
            raise ValueError(f"utterances: {what} the phonemes or frames that they belong to; align them anew")
        silent = [k for k in range(len(frames)) if not (self.sequences["pitch"][k] > 0).any()]
        if silent:
            raise ValueError(f"utterances: sentence {silent[0]} has no voiced frame; leave it out")
        # what tells two sets apart by their sentences' contents, without a value per frame
        content = [float(self.sequences["mel"][k].sum(dtype=np.float64)) for k in range(len(frames))]
        super().__init__({**(fields or {}), "phonemes": phonemes, "frames": frames, "content": np.array(content)})
        self.options: dict[str, Any] = {"pad_to": pad_to, "bucket": bucket}
        own = {name: value for name, value in self.fields.items() if name not in ("phonemes", "content")}
        self._ragged = Ragged(self.sequences, own, masks=_MASKS, **self.options)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The sentences at `index`, padded."""
        return self._ragged.gather(index, epoch)

    def order(self, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
        """One pass over all, sentences of like length together."""
        return self._ragged.order(batch_size, *key, least=least)

    def rows(self, index: np.ndarray) -> Utterances:
        """Those at `index`."""
        return self.but({name: [value[k] for k in index] for name, value in self.sequences.items()}, index)

    def but(
        self, sequences: Mapping[str, Any], index: np.ndarray | None = None, **fields: np.ndarray | Tensor
    ) -> Utterances:
        """The same sentences (those at `index`) with these sequences instead, and further fields."""
        rows = torch.arange(self.size()) if index is None else torch.from_numpy(np.asarray(index, np.int64))
        own = {n: v[rows] for n, v in self.fields.items() if n not in ("phonemes", "frames", "content")}
        return Utterances(sequences, {**own, **fields}, **self.options)


class Spectra(Protocol):
    """How the data's spectra were made of sound, and sound of spectra."""

    def audio(self, mel_TM: Tensor) -> Tensor:
        """Sound (T * hop,) with about this spectrum."""
        ...

    def pitch(self, audio_L: Tensor) -> Tensor:
        """Hz of each frame (T,), 0 where there is no voice."""
        ...


@dataclass(frozen=True)
class Speech(DataSet):
    """Three parts of `Utterances` and any number of extra ones; ValueError for phonemes that are none of the symbols.

    symbols: what the numbers of phonemes mean. mels: M. rate: of sound, Hz; hop: of a frame, in samples of sound.
    spectra: what made the spectra. texts: sample id -> what is said, in letters, where that is known.
    """

    train: Utterances
    validation: Utterances
    test: Utterances
    symbols: tuple[str, ...]
    mels: int
    rate: int
    hop: int
    spectra: Spectra
    texts: Mapping[int, str] = field(default_factory=dict)
    extra: Mapping[str, Utterances] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    items: Items | None = None
    spelling: Spelling | None = None

    kind: ClassVar[str] = "speech"
    counted: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        for name, part in self.parts().items():
            if not isinstance(part, Utterances):
                raise ValueError(f"{name}: speech has parts of Utterances, got {type(part).__name__}")
            phonemes = part.sequences["phoneme"].values
            for phoneme in (int(phonemes.min()), int(phonemes.max())):
                if not 0 <= phoneme < len(self.symbols):
                    raise ValueError(f"{name}: phoneme {phoneme} is none of 0..{len(self.symbols) - 1}")
            if part.sequences["mel"].values.shape[1:] != (self.mels,):
                found = part.sequences["mel"].values.shape[1:]
                raise ValueError(f"{name}: frames of {found} numbers, expected ({self.mels},)")
        self.check_parts()

    def part(self, name: str) -> Utterances:
        """The part called `name`; ValueError with the nearest names otherwise."""
        part = super().part(name)
        assert isinstance(part, Utterances)
        return part

    def facts(self) -> dict[str, Any]:
        """phonemes (how many symbols), mels, rate and hop."""
        return {"phonemes": len(self.symbols), "mels": self.mels, "rate": self.rate, "hop": self.hop}
