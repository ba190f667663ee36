"""A source that writes: a teacher, the student as it is now, or any other model completes prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from embodkd.core.config.ranges import Count
from embodkd.core.fingerprint import digest
from embodkd.core.ranks import ranks
from embodkd.core.runs.files import atomic_folder, read_tensors, write_json, write_tensors
from embodkd.core.runs.reading import read_json
from embodkd.core.signals import Signals
from embodkd.core.sources.decoding import Completions, Decoding, Writer, as_writer
from embodkd.core.sources.kept import remove_outdated
from embodkd.core.sources.ragged import EndToEnd, Ragged
from embodkd.core.sources.source import Refresh, Source, item_seeds

Texts = dict[str, np.ndarray]


class _Marks(TypedDict):
    writer: str
    choice: str


class Generated(Source):
    """Each refill completes the prompts anew; only the newest texts are kept.

    writer: a model, or what has `next_logits` (see `decoding.as_writer`); it writes where its parameters are, in
    evaluation mode, without gradient. prompts: token numbers, of any lengths. decoding: how it is drawn.
    responses: texts per prompt. per_refill: how many prompts each refill takes, None for all; a pass over the shuffled
    prompts then takes size // per_refill refills, and what is left over waits for another pass.
    fields: further tensors (prompts, ...) that go with each text of their prompt.
    folder: a bank of texts. What refill number k wrote lies there, and a run that finds it reads it instead of writing
    it again; ValueError if it is of another writer (as it is now), or of other prompts or draws.
    pad_to, bucket: as in Ragged.

    A batch has, padded on the right, `tokens` (n, T) (prompt and completion), `tokens_mask` (n, T), `mask` (n, T), true
    where a token is of the completion, its stop token included, `logprob` (n, T), the log-probability of such a token
    as it was drawn, 0 elsewhere; and `prompt_length` (n,), `stopped` (n,), whether it came to its stop token,
    `prompt_id` (n,) and `sample_id` (n,), which is prompt * responses + response. A text is a function of
    (seed, prompt, response, refill) and of the writer.
    """

    def __init__(
        self,
        writer: Any,
        prompts: EndToEnd | Sequence[Any],
        decoding: Decoding | None = None,
        *,
        fields: Mapping[str, Tensor | np.ndarray] | None = None,
        responses: Count = 1,
        per_refill: Count | None = None,
        refresh: Refresh = "never",
        seed: int = 0,
        pad: int = 0,
        pad_to: Literal["batch", "source"] = "batch",
        bucket: int = 0,
        folder: str | Path | None = None,
    ) -> None:
        self.writer: Writer = as_writer(writer)
        self.prompts, self.decoding = EndToEnd.of(prompts), decoding or Decoding()
        self.responses, self.refresh, self.seed = responses, refresh, seed
        self.per_refill = len(self.prompts) if per_refill is None else per_refill
        if not 1 <= self.per_refill <= len(self.prompts):
            raise ValueError(f"per_refill: {self.per_refill} of {len(self.prompts)} prompts; take from 1 to all")
        if responses < 1:
            raise ValueError(f"responses: at least 1 text per prompt, got {responses}")
        self._fields = {name: torch.as_tensor(value) for name, value in (fields or {}).items()}
        wrong = {name: len(value) for name, value in self._fields.items() if len(value) != len(self.prompts)}
        if wrong:
            raise ValueError(f"fields: one row for each of the {len(self.prompts)} prompts, got {wrong}")
        self._ragged: dict[str, Any] = {"padding": {"tokens": pad}, "pad_to": pad_to, "bucket": bucket}
        self._folder = None if folder is None else Path(folder)
        self._texts: Texts = {}
        self._items: Ragged | None = None
        self._refill = -1

    def size(self) -> int:
        """How many texts a refill gives."""
        return self.per_refill * self.responses

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The newest texts at `index`."""
        return self._written().gather(index, epoch)

    def order(self, batch_size: int, *key: int, least: int = 1) -> Any:
        """One pass over the newest texts."""
        return self._written().order(batch_size, *key, least=least)

    def refill(self, refill: int) -> dict[str, float]:
        """Write, or read what lies in the bank; returns the mean length of a completion and how many stopped."""
        path = None if self._folder is None else self._folder / f"texts_{refill}"
        there = ranks().broadcast(path is not None and path.exists())
        if path is not None and there:
            self._check(path)
            self._take(_read(path), refill)
        else:
            self._take(self._write(refill), refill)
            if path is not None:
                kept = path
                ranks().first_does(lambda: self._keep(kept))
        length_N, stopped_N = np.diff(self._texts["offsets"]) - self._texts["prompt_length"], self._texts["stopped"]
        return {"generated/length": float(length_N.mean()), "generated/stopped": float(stopped_N.mean())}

    def chosen(self, refill: int) -> np.ndarray:
        """The prompts that refill number `refill` takes, int64 (per_refill,)."""
        count = len(self.prompts)
        if self.per_refill == count:
            return np.arange(count)
        turn, part = divmod(refill, count // self.per_refill)
        order = np.random.default_rng((self.seed, 0x7E47, turn)).permutation(count)
        return order[part * self.per_refill : (part + 1) * self.per_refill]

    def save(self, folder: Path) -> None:
        """Write the newest texts, if no bank has them."""
        path = folder / f"texts_{self._refill}"
        if self._folder is None and self._texts and not path.exists():
            with atomic_folder(path) as aside:
                write_tensors(aside / "texts.safetensors", self._texts)

    def tidy(self, folder: Path) -> None:
        """Remove texts that no checkpoint needs."""
        remove_outdated(folder, "texts", [self._refill] if self._refill >= 0 else [])

    def restore(self, folder: Path, refills: int) -> None:
        """Read the texts of the last refill."""
        if refills:
            self._take(_read((self._folder or folder) / f"texts_{refills - 1}"), refills - 1)

    def _write(self, refill: int) -> Texts:
        prompt_N = np.repeat(self.chosen(refill), self.responses)
        item_N = prompt_N * self.responses + np.tile(np.arange(self.responses), self.per_refill)
        own = ranks().share(np.arange(len(item_N)))
        key_n = item_seeds(self.seed, refill, item_N[own])
        prompts = [self.prompts[k] for k in prompt_N]
        mine = self.decoding.complete(self.writer, EndToEnd.of([prompts[k] for k in own]), key_n) if len(own) else None
        found: list[Any] = ranks().merged([] if mine is None else _rows(mine))
        tokens = [np.concatenate([prompt, row[0]]) for prompt, row in zip(prompts, found, strict=True)]
        logprobs = [np.pad(row[1], (len(prompt), 0)) for prompt, row in zip(prompts, found, strict=True)]
        whole = EndToEnd.of(tokens)
        return {
            "tokens": whole.values.astype(np.int64),
            "logprob": EndToEnd.of(logprobs).values,
            "offsets": whole.offset_N1,
            "prompt_length": np.array([len(prompt) for prompt in prompts], np.int64),
            "stopped": np.array([row[2] for row in found], bool),
            "prompt_id": prompt_N.astype(np.int64),
            "sample_id": item_N.astype(np.int64),
        }

    def _take(self, texts: Texts, refill: int) -> None:
        offsets, prompt_N = texts["offsets"], texts["prompt_id"]
        begin_N, length_N = offsets[:-1] + texts["prompt_length"], np.diff(offsets)
        mask = np.arange(offsets[-1]) >= np.repeat(begin_N, length_N)
        flat = {"tokens": texts["tokens"], "mask": mask, "logprob": texts["logprob"]}
        fields = {name: texts[name] for name in ("prompt_length", "stopped", "prompt_id", "sample_id")}
        self._items = Ragged(
            {name: EndToEnd(values, offsets) for name, values in flat.items()},
            {**fields, **{name: value[torch.from_numpy(prompt_N)] for name, value in self._fields.items()}},
            masks={"tokens": "tokens_mask"},
            **self._ragged,
        )
        self._texts, self._refill = texts, refill

    def _written(self) -> Ragged:
        if self._items is None:
            raise ValueError("nothing is written yet: call refill(0) first, as the trainer does")
        return self._items

    def _keep(self, path: Path) -> None:
        with atomic_folder(path) as aside:
            write_tensors(aside / "texts.safetensors", self._texts)
            write_json(aside / "marks.json", self._marks())

    def _marks(self) -> _Marks:
        choice = [vars(self.prompts), vars(self.decoding), self.responses, self.per_refill, self.seed]
        return {"writer": digest(self.writer, "the writer"), "choice": digest(choice)}

    def _check(self, path: Path) -> None:
        own, stored = self._marks(), read_json(path / "marks.json", _Marks)
        names = {"writer": "another writer", "choice": "other prompts, another decoding or another seed"}
        wrong = [why for name, why in names.items() if dict(own)[name] != dict(stored)[name]]
        if wrong:
            raise ValueError(f"the texts in {path} are of {' and '.join(wrong)}; remove that folder to write them anew")


def _read(path: Path) -> Texts:
    return read_tensors(path / "texts.safetensors")


def _rows(found: Completions) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    stopped = found.stopped_N.tolist()
    return [(found.tokens[k], found.logprobs[k], stopped[k]) for k in range(len(stopped))]
