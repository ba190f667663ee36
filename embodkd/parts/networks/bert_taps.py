"""What is read inside a BERT of transformers, layer by layer, and a teacher's answers put in a student's place there.

With i a layer: scores_i (N, H, T, T) before the softmax, the mask added; map_i, its answer; context_i (N, H, T, D / H),
its product with the values; output_i (N, T, D) of the dense layer behind it; after_i, the layer norm of that plus the
layer's input; hidden_0 the embeddings, hidden_{i + 1} what layer i gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from embodkd.core import Signals, Tap

Intervention = Literal["output", "context", "map"]
INTERVENTIONS: tuple[Intervention, ...] = ("output", "context", "map")
WHICH = "intervention"
"""The field of the batch that says which one is on: its number in INTERVENTIONS, the same for every item."""

FORBIDDEN = -100.0


def place(layer: int, part: str = "") -> str:
    """The name of a layer, or of a part of it, in a BertClassifier."""
    return f"backbone.encoder.layer.{layer}{part and '.'}{part}"


def depth(model: Any) -> int:
    """How many layers a BertClassifier has."""
    return len(model.backbone.encoder.layer)


def compared(layers: int) -> dict[str, str | Tap]:
    """The taps of scores, hidden states and attention outputs behind the layer norm."""
    found: dict[str, str | Tap] = {"hidden_0": "backbone.embeddings"}
    for i in range(layers):
        found[f"scores_{i}"] = Tap(place(i, "attention.self"), attention="scores")
        found |= {f"after_{i}": place(i, "attention.output"), f"hidden_{i + 1}": place(i)}
    return found


def allowed(signal: Tensor) -> Tensor:
    """The same with 0 where it is at most FORBIDDEN: what a mask added to scores is no part of what they say."""
    return signal.masked_fill(signal <= FORBIDDEN, 0.0)


def offered(layers: int, kinds: Iterable[Intervention]) -> dict[str, str | Tap]:
    """The taps of what a teacher puts in the student's place."""
    return {f"{kind}_{i}": _where(kind, i) for kind in kinds for i in range(layers)}


def replaced(layers: int, kinds: Iterable[Intervention]) -> dict[str, str | Tap]:
    """The taps by which the teacher's answers, "t.output_0" and so on of the batch, take the student's place.

    One of `kinds` is on in each update, batch[WHICH]. Queries and keys read the layer's input without gradient, and so
    do values unless it is the map that is replaced.
    """
    found: dict[str, str | Tap] = {}
    for i in range(layers):
        for part in ("query", "key"):
            found[f"cut_{part}_{i}"] = Tap(place(i, f"attention.self.{part}"), input=True, replace=Tensor.detach)
        found[f"cut_value_{i}"] = Tap(place(i, "attention.self.value"), input=True, replace_from=_live_under_map)
        for kind in kinds:
            found[f"put_{kind}_{i}"] = _where(kind, i, replace_from=partial(_put, kind=kind, layer=i))
    return found


def _where(kind: Intervention, layer: int, **options: Any) -> Tap:
    if kind == "output":
        return Tap(place(layer, "attention.output.dense"), **options)
    return Tap(place(layer, "attention.self"), attention="probs" if kind == "map" else "context", **options)


def _put(own: Tensor, batch: Signals, *, kind: Intervention, layer: int) -> Tensor:
    return torch.where(_is_on(own, batch, kind), batch[f"t.{kind}_{layer}"].to(own.dtype), own)


def _live_under_map(x: Tensor, batch: Signals) -> Tensor:
    return torch.where(_is_on(x, batch, "map"), x, x.detach())


def _is_on(like: Tensor, batch: Signals, kind: Intervention) -> Tensor:
    """Of the shape (N, 1, ...): no number leaves the device."""
    return (batch[WHICH] == INTERVENTIONS.index(kind)).view(-1, *[1] * (like.ndim - 1))
