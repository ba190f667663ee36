"""A BERT of transformers that computes with ternary weights and activations of few bits (TernaryBERT's layout)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from torch import nn

from embodkd.core import Tap, eight_bit, inherit, quantise, ternary
from embodkd.core.config.ranges import NotNegative, Positive, Within

Bits = Annotated[int, Within(2, 16)]


@dataclass(frozen=True)
class Quantisation:
    """clip: weights and activations beyond +-clip are cut, and learn nothing; factor: a weight is kept where it is
    larger than this times the mean magnitude; bits: of activations."""

    clip: Positive = 2.5
    factor: NotNegative = 0.7
    bits: Bits = 8


def quantise_bert(model: nn.Module, how: Quantisation) -> dict[str, Tap]:
    """Quantise `model` in place, its parameters as they are; the taps that quantise what multiplies the values.

    Ternary: the word embeddings, a scale for each row, and all linear layers, one each. In `bits`: what these layers
    read, queries, keys, values and the attention's weights; the scale is that of the whole batch. Other embeddings,
    layer norms and biases are as they were.
    """
    weight = partial(ternary, clip=how.clip, factor=how.factor)
    activation = partial(eight_bit, clip=how.clip, bits=how.bits, items=True)
    quantise(model, r"word_embeddings$", weight=partial(weight, rows=True))
    quantise(model, r"self\.(query|key|value)$", weight=weight, input=activation, output=activation)
    quantise(model, [r"\b(output|intermediate)\.dense$", r"pooler\.dense$"], weight=weight, input=activation)
    places = [name for name, _ in model.named_modules() if name.endswith("attention.self")]
    return {f"weights of {name}": Tap(name, attention="weights", replace=activation) for name in places}


def take_after(student: Any, teacher: Any, how: Quantisation | None, where: str) -> None:
    """Make a student a copy of its teacher, quantised if it is said how.

    ValueError, opened by `where`, unless both are bert_classifiers of the same size and not quantised.
    """
    for model in (student, teacher):
        if not hasattr(model, "quantise"):
            raise ValueError(f"{where}: knows the inside of a bert_classifier, got a {type(model).__name__}")
        if model.quantised is not None:
            raise ValueError(f"{where}: student and teacher begin at full precision: leave model.quantised out")
    own, theirs = (_anatomy(model) for model in (student, teacher))
    odd = [name for name in {**own, **theirs} if own.get(name) != theirs.get(name)]
    if odd:
        raise ValueError(
            f"{where}: the student is a copy of its teacher, but its {odd[0]} is {own.get(odd[0])} and the teacher's "
            f"{theirs.get(odd[0])}: give it the teacher's model"
        )
    inherit(student, teacher)
    if how is not None:
        student.quantise(how)


def _anatomy(model: Any) -> dict[str, Any]:
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    return {"heads": model.backbone.config.num_attention_heads, **shapes}
