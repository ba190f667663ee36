"""Sentences as a teacher with attention understands them: its durations of what is said, or what it says itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Ragged, Signals, Source, Utterances
from embodkd.core.modules.modes import evaluating
from embodkd.parts.speech.spoken import Spoken, spoken


class Taught(Source):
    """The sentences of a part, asked of the teacher once, before the first round; asked again by a resumed run.

    spoken: the teacher speaks by itself, and spectra and durations are its own; otherwise the spectra stay, and the
    durations are those for which its attention, shown the spectra, stays with each phoneme. finish: what is made of
    such sentences. The teacher answers where its parameters are, in evaluation mode.
    """

    def __init__(
        self,
        part: Utterances,
        teacher: Any,
        *,
        spoken: bool,
        finish: Callable[[Utterances], Source] = lambda part: part,
    ) -> None:
        self.part, self.teacher, self.spoken, self.finish = part, teacher, spoken, finish
        self._items: Source | None = None

    def size(self) -> int:
        """How many sentences there are."""
        return self.part.size()

    def refill(self, refill: int) -> dict[str, float]:
        """Ask the teacher; the mean length of a phoneme, in frames, comes back."""
        found = self._asked()
        self._items = self._made(found)
        frames = sum(int(told.duration.sum()) for told in found)
        return {"taught/duration": frames / sum(len(told.duration) for told in found)}

    def restore(self, folder: Path, refills: int) -> None:
        """Ask again, which gives the same."""
        if refills:
            self.refill(0)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The sentences at `index`."""
        return self._ready().gather(index, epoch)

    def order(self, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
        """One pass over all."""
        return self._ready().order(batch_size, *key, least=least)

    @torch.no_grad()
    def _asked(self) -> list[Spoken]:
        """What it says of each sentence."""
        like = next(self.teacher.parameters())
        names = ("phoneme", "phoneme_mask") if self.spoken else ("phoneme", "phoneme_mask", "mel", "frame_mask")

        def ask(batch: Signals) -> Mapping[str, Tensor]:
            with evaluating(self.teacher):
                told: Mapping[str, Tensor] = self.teacher(
                    {name: batch[name].to(like) if name == "mel" else batch[name] for name in names}
                )
            return told

        return spoken(self.part, range(self.size()), ask, like.device)

    def _made(self, found: list[Spoken]) -> Source:
        durations = [told.duration for told in found]
        if not self.spoken:
            return self.finish(self.part.but({**self.part.sequences, "duration": durations}))
        sequences: dict[str, Any] = {
            "phoneme": self.part.sequences["phoneme"],
            "duration": durations,
            "mel": [told.mel for told in found],
        }
        masks = {"phoneme": "phoneme_mask", "mel": "frame_mask"}
        return Ragged(sequences, {"sample_id": self.part.fields["sample_id"]}, masks=masks, **self.part.options)

    def _ready(self) -> Source:
        if self._items is None:
            raise ValueError("the teacher was not asked yet: call refill(0) first, as the trainer does")
        return self._items
