"""What a teacher answers to problems, sorted into right and wrong: traces to learn from, and pairs of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embodkd.core import Context, Promised, TensorData, Texts, as_writer
from embodkd.core.runs.files import atomic_folder, read_tensors, write_tensors
from embodkd.core.sources.source import item_seeds
from embodkd.parts.texts.written import decoding_of, prompts_of


class Traces:
    """A step: `writer` tries each problem of `data.train` until it is right, `tries` times at most.

    Two sources are there afterwards. right: `tokens`, `mask` and `sample_id` of every problem's first right trace.
    pairs: of the problems with a right and a wrong one, `chosen`, `chosen_mask`, the first wrong one as `rejected`,
    `rejected_mask`, and `sample_id`. A trace is a function of (seed, problem, try).
    """

    def __init__(
        self, writer: Any, data: Texts, *, tries: int = 8, temperature: float = 1.0, top_p: float = 1.0, seed: int = 0
    ) -> None:
        if data.check is None:
            raise ValueError("traces: these texts have nothing that tells right answers from wrong ones (check)")
        self._writer, self._data, self._tries, self._seed = writer, data, tries, seed
        self._temperature, self._top_p = temperature, top_p
        self.right, self.pairs = Promised("the right traces"), Promised("the pairs of traces")

    def __call__(self, context: Context) -> dict[str, float]:
        """Write them, or read those that a killed call left."""
        folder = _folder(context)
        if folder is not None and folder.exists():
            self.restore(context)
        else:
            found = self._write(context)
            if folder is not None:
                with atomic_folder(folder) as aside:
                    write_tensors(aside / "traces.safetensors", found)
            self._show(found)
        problems = self._data.train.size()
        shares = {"traces/solved": self.right.size() / problems, "traces/paired": self.pairs.size() / problems}
        return {**shares, "traced": self.right.size(), "paired": self.pairs.size()}

    def restore(self, context: Context) -> None:
        """Read what an earlier call left."""
        folder = _folder(context)
        self._show(self._write(context) if folder is None else read_tensors(folder / "traces.safetensors"))

    def _write(self, context: Context) -> dict[str, np.ndarray]:
        """Tokens and mask of the first right (chosen) and first wrong (rejected) trace of every problem, if any."""
        data, fields = self._data, self._data.train.fields
        count, pad, decoding = data.train.size(), data.pad, decoding_of(data, self._temperature, self._top_p)
        ids_N = fields["sample_id"].numpy()
        getattr(self._writer, "to", lambda device: None)(context.device)
        writer, open_N = as_writer(self._writer), np.ones(count, bool)
        tokens = {name: np.full((count, data.length), pad, np.int64) for name in ("chosen", "rejected")}
        masks = {name: np.zeros((count, data.length), bool) for name in tokens}
        for attempt in range(self._tries):
            rows = np.flatnonzero(open_N)
            if not len(rows):
                break
            prompts = prompts_of(data.train, "traces", rows)
            answers = decoding.complete(writer, prompts, item_seeds(self._seed, attempt, ids_N[rows])).tokens
            whole = prompts.followed_by(answers)
            tokens_KT, there_KT = whole.padded(np.arange(len(rows)), pad, data.length)
            begin_K = prompts.lengths()
            solved_K = data.solved(torch.from_numpy(tokens_KT), torch.from_numpy(begin_K)).numpy()
            mask_KT = there_KT & (np.arange(data.length) >= begin_K[:, None])
            for name, wanted_K in (("chosen", solved_K), ("rejected", ~solved_K & ~masks["rejected"][rows].any(1))):
                tokens[name][rows[wanted_K]], masks[name][rows[wanted_K]] = tokens_KT[wanted_K], mask_KT[wanted_K]
            open_N[rows[solved_K]] = False
        return {**tokens, **{f"{name}_mask": mask for name, mask in masks.items()}, "sample_id": ids_N}

    def _show(self, found: Mapping[str, np.ndarray]) -> None:
        solved_N, failed_N = found["chosen_mask"].any(1), found["rejected_mask"].any(1)
        paired_N = np.logical_and(solved_N, failed_N)
        if not paired_N.any():
            raise ValueError(
                f"traces: of {self._data.train.size()} problems the teacher solved {solved_N.sum()} and failed "
                f"{failed_N.sum()} at least once, and none of them is both: no pair to learn from; take a teacher that "
                "errs at times"
            )
        names = {"tokens": "chosen", "mask": "chosen_mask", "sample_id": "sample_id"}
        self.right.keep(TensorData({name: found[source][solved_N] for name, source in names.items()}))
        self.pairs.keep(TensorData({name: value[paired_N] for name, value in found.items()}))


def _folder(context: Context) -> Path | None:
    return None if context.folder is None else context.folder / "banks" / "traces"
