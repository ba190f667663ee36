"""What the Trainer costs at the size of a small language model: 6 layers, 256 wide, 128 tokens, against a loop by hand.

And what a vocabulary loss costs and saves when logits are made in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.loop import ratio
from benchmarks.measure import REPEATS, Contender, Line, take_turns
from embodkd.core import Budget, Player, Recipe, Role, TensorData, Texts, Trainer, by_position, cross_entropy, shuffled
from embodkd.models import make_model
from embodkd.parts.texts.vocabulary import Head, Headless, chunked_cross_entropy

COMMAND = "python -m benchmarks language"
RATE = 1e-3


@dataclass(frozen=True)
class Work:
    """One call: so many updates of `batch` texts of `length` tokens."""

    updates: int = 4
    batch: int = 4
    length: int = 128
    width: int = 256
    depth: int = 6
    vocabulary: int = 1024
    chunk: int = 128
    repeats: int = REPEATS


def lines(work: Work | None = None) -> list[Line]:
    """Two lines: our updates against those by hand, and chunks of logits against all of them."""
    work = work or Work()
    data = texts(work)
    samples = take_turns(
        {
            "embodkd": Contender(partial(trained, work, data, False)),
            "by hand": Contender(partial(hand_written, work, data)),
            "chunked": Contender(partial(trained, work, data, True)),
        },
        work.repeats,
    )
    return [
        _own(ratio(work, "LM step / by hand", samples, ("embodkd", "by hand"), "<=", 1.03)),
        _own(ratio(work, "LM step, logits in chunks / whole", samples, ("chunked", "embodkd"), "<=", None)),
    ]


def texts(work: Work) -> Texts:
    """Random tokens."""
    generator = torch.Generator().manual_seed(0)
    parts, first = [], 0
    for size in (work.updates * work.batch, 2, 2):
        fields = {
            "tokens": torch.randint(work.vocabulary, (size, work.length), generator=generator),
            "mask": torch.ones(size, work.length, dtype=torch.bool),
            "prompt": torch.zeros(size, dtype=torch.int64),
            "sample_id": torch.arange(first, first + size),
        }
        parts.append(TensorData(fields))
        first += size
    return Texts(*parts, vocabulary=work.vocabulary, start=0)


def network(work: Work) -> nn.Module:
    """The language model of the work."""
    torch.manual_seed(0)
    size = {"width": work.width, "depth": work.depth}
    return make_model("causal_lm", vocabulary=work.vocabulary, length=work.length, start=0, end=None, **size)


def recipe(work: Work, data: Texts, chunked: bool) -> Recipe:
    """Next tokens, by whole logits or in chunks."""
    student: Any = network(work)

    def whole(batch: Any, s: Any) -> dict[str, torch.Tensor]:
        return {"nll": by_position(cross_entropy, s.logits_NTV, batch.tokens_NT)}

    def in_chunks(batch: Any, s: Any) -> dict[str, torch.Tensor]:
        return {"nll": chunked_cross_entropy(s.hidden_NTD, Head.of(student), batch.tokens_NT, chunk=work.chunk)}

    model, terms = (Headless(student), in_chunks) if chunked else (student, whole)
    player = Player(Role(model), terms, mass={"nll": "mask"})
    return Recipe((Budget(epochs=1, batch_size=work.batch).stage(player, data.train),), student)


def trained(work: Work, data: Texts, chunked: bool) -> None:
    """One epoch by the Trainer."""
    assert Trainer(quiet=True).fit(recipe(work, data, chunked)).updates == work.updates


def hand_written(work: Work, data: Texts) -> None:
    """The same epoch as anyone would write it."""
    student = network(work).train()
    optimiser = torch.optim.Adam(student.parameters(), RATE, fused=True)
    for index in _order(work, data):
        rows = torch.from_numpy(index)
        tokens, mask = (data.train.fields[name].index_select(0, rows) for name in ("tokens", "mask"))
        optimiser.zero_grad()
        logits = student(tokens)["logits"]
        nll = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)
        loss = (nll * mask).sum() / mask.sum()
        loss.backward()
        optimiser.step()


def _order(work: Work, data: Texts) -> Iterator[Any]:
    return shuffled(data.train.size(), work.batch, 0, 0, 0, 0)


def _own(line: Line) -> Line:
    return replace(line, command=COMMAND)
