"""One row per vision method: how to try it on something tiny, and the plain recipe that it contains.

ROWS["nkd"] = Row(plain={...}, against="supervised") is enough for most; the properties that every row must have are
in test_every_method.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from embodkd.core import Budget, DataSet, Optimiser, Pairs, Speech, Splits, TensorData, Texts
from embodkd.models import make_model

C, D = 3, 6
IMAGE = (1, 8, 8)
Model = Callable[..., nn.Module]


def blobs(shape: tuple[int, ...] = (D,), n: int = 48, **extra: int) -> Splits:
    """Three overlapping blobs, `n` items to train on, 24 to choose by and to test; `extra`: name=size of further
    (unlabelled) pools. Sample ids do not start at 0, are not contiguous and not sorted: a place is no id."""
    generator = torch.Generator().manual_seed(7)
    sizes = {"train": n, "validation": 24, "test": 24, **extra}
    ids = 5 + 2 * torch.randperm(sum(sizes.values()), generator=generator)
    means_CD = 2.0 * torch.randn(C, *shape, generator=generator)
    parts: dict[str, TensorData] = {}
    for name, size in sizes.items():
        label = torch.arange(size) % C
        x = means_CD[label] + torch.randn(size, *shape, generator=generator)
        own, ids = ids[:size], ids[size:]
        fields = {"input": x, "sample_id": own}
        parts[name] = TensorData(fields if name in extra else {**fields, "label": label})
    more = {name: parts[name] for name in extra}
    return Splits(parts["train"], parts["validation"], parts["test"], classes=C, shape=shape, extra=more)


def images(n: int = 48, **extra: int) -> Splits:
    """`blobs` of images (1, 8, 8)."""
    return blobs(IMAGE, n, **extra)


def texts(n: int = 24, **extra: int) -> Texts:
    """Rows of six tokens out of C + 2, of which the first two are a prompt and the last up to two are not there."""
    generator = torch.Generator().manual_seed(7)
    sizes = {"train": n, "validation": 12, "test": 12, **extra}
    ids = 5 + 2 * torch.randperm(sum(sizes.values()), generator=generator)
    parts: dict[str, TensorData] = {}
    for name, size in sizes.items():
        tokens_NT = torch.randint(C, (size, 6), generator=generator) + 2
        length_N = 4 + torch.randint(3, (size,), generator=generator)
        place_T = torch.arange(6)
        there_NT = place_T < length_N[:, None]
        own, ids = ids[:size], ids[size:]
        fields = {"tokens": tokens_NT * there_NT, "mask": there_NT & (place_T >= 2), "sample_id": own}
        parts[name] = TensorData({**fields, "prompt": torch.full((size,), 2)})
    more = {name: parts[name] for name in extra}
    return Texts(parts["train"], parts["validation"], parts["test"], vocabulary=C + 2, start=1, extra=more)


def sentences(n: int = 24) -> Splits:
    """Rows of six tokens out of nine, of which up to two are not there; the most frequent ones tell the class."""
    generator = torch.Generator().manual_seed(7)
    sizes = {"train": n, "validation": 12, "test": 12}
    ids = 5 + 2 * torch.randperm(sum(sizes.values()), generator=generator)
    parts: dict[str, TensorData] = {}
    for name, size in sizes.items():
        label_N = torch.arange(size) % C
        hint_NT = torch.rand(size, 6, generator=generator) < 0.6
        tokens_NT = torch.randint(9, (size, 6), generator=generator)
        there_NT = torch.arange(6) < 4 + torch.randint(3, (size, 1), generator=generator)
        own, ids = ids[:size], ids[size:]
        tokens_NT = torch.where(hint_NT, label_N[:, None], tokens_NT) * there_NT
        parts[name] = TensorData({"input": tokens_NT, "mask": there_NT, "label": label_N, "sample_id": own})
    return Splits(parts["train"], parts["validation"], parts["test"], classes=C, shape=(6,), vocabulary=9)


class Letters:
    """Tokens from 2 on are the letters a, b, ..."""

    def encode(self, text: str) -> list[int]:
        return [2 + ord(letter) - ord("a") for letter in text]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(chr(ord("a") + token - 2) for token in tokens if token >= 2)

    def to_json(self) -> str:
        return "letters"


def problems(n: int = 24) -> Texts:
    """`texts` with right answers: those whose first letter is an a or a b. Nobody knows how, so some are given."""
    return dataclasses.replace(texts(n), spelling=Letters(), check=lambda prompt, answer: answer[:1] in ("a", "b"))


def small_lm(classes: int = C) -> nn.Module:
    """A recurrent student for `texts`."""
    return make_model("gru_lm", vocabulary=classes + 2, length=6, start=1, end=None, width=8)


def large_lm(classes: int = C) -> nn.Module:
    """A recurrent teacher for `texts`."""
    return make_model("gru_lm", vocabulary=classes + 2, length=6, start=1, end=None, width=16)


def small_bert(classes: int = C) -> nn.Module:
    """An encoder with dropout for `sentences`."""
    pytest.importorskip("transformers", reason="extra language is not installed")
    return make_model("bert_classifier", (6,), classes, vocabulary=9, width=8, depth=2, heads=2)


def pairs(n: int = 48) -> Pairs:
    """Images (1, 8, 8) with six tokens out of 12 each, of which the last up to two are not there; three groups."""
    generator = torch.Generator().manual_seed(7)
    sizes = {"train": n, "validation": 12, "test": 12}
    ids = 5 + 2 * torch.randperm(sum(sizes.values()), generator=generator)
    parts: dict[str, TensorData] = {}
    for name, size in sizes.items():
        there_NT = torch.arange(6) < 4 + torch.randint(3, (size, 1), generator=generator)
        own, ids = ids[:size], ids[size:]
        parts[name] = TensorData(
            {
                "image": torch.randn(size, *IMAGE, generator=generator),
                "tokens": torch.randint(12, (size, 6), generator=generator) * there_NT,
                "mask": there_NT,
                "concept": own,
                "group": torch.arange(size) % 3,
                "sample_id": own,
            }
        )
    prompts = {"tokens": torch.arange(18).view(3, 6) % 12, "mask": torch.ones(3, 6, dtype=torch.bool)}
    return Pairs(**parts, shape=IMAGE, vocabulary=12, prompts=prompts, groups=("a", "b", "c"))


LARGE = {"patch": 4, "head": 4, "joint": 8, "image_width": 12, "image_depth": 2, "text_width": 12, "text_depth": 2}


def small_towers(classes: int = C) -> nn.Module:
    """A student for `pairs`, narrower and with fewer layers."""
    smaller = {"image_width": 8, "image_depth": 1, "text_width": 8, "text_depth": 1}
    return make_model("towers", shape=IMAGE, vocabulary=12, length=6, **{**LARGE, **smaller})


def large_towers(classes: int = C) -> nn.Module:
    """A teacher for `pairs`."""
    return make_model("towers", shape=IMAGE, vocabulary=12, length=6, **LARGE)


def speech(n: int = 24, audio: bool = False) -> Speech:
    """Sentences of three to five phonemes out of C + 2, of one to three frames each, the first of them voiced."""
    from spoken import speech as made

    return made(n, audio)


def small_speaker(classes: int = C, **options: Any) -> nn.Module:
    """A student for `speech` that says all frames at once."""
    own = {"width": 8, "encoder": 1, "decoder": 1, "hidden": 8, "kernel": 3, "predictor": 8}
    return make_model("fastspeech2", phonemes=C + 2, mels=4, rate=4000, hop=32, **{**own, **options})


def attending_speaker(classes: int = C) -> nn.Module:
    """A teacher for `speech` that says one step after the other."""
    return make_model("attention_tts", phonemes=C + 2, mels=4, rate=4000, hop=32, width=8)


def small(classes: int = C) -> nn.Module:
    """The default student: 6 -> 8 -> 8 -> classes."""
    return make_model("mlp", (D,), classes, hidden=(8, 8))


def large(classes: int = C) -> nn.Module:
    """The default teacher: 6 -> 16 -> 16 -> classes."""
    return make_model("mlp", (D,), classes, hidden=(16, 16))


def small_cnn(classes: int = C) -> nn.Module:
    """A convolutional student without batch statistics, for `images`."""
    return make_model("cnn", IMAGE, classes, widths=(4, 8), batch_norm=False)


def large_cnn(classes: int = C) -> nn.Module:
    """A convolutional teacher for `images`; its map has the student's size."""
    return make_model("cnn", IMAGE, classes, widths=(8, 16))


def small_denoiser(classes: int = C) -> nn.Module:
    """A one-step generator of `blobs`, which is a denoiser, too."""
    return make_model("denoiser", (D,), classes, width=8, blocks=1, levels=50, jump=30, steps=1)


def large_denoiser(classes: int = C) -> nn.Module:
    """A denoising teacher for `blobs`."""
    return make_model("denoiser", (D,), classes, width=16, blocks=1, levels=50)


def budget(epochs: int = 2, **keys: Any) -> Budget:
    """Six updates, unless told otherwise."""
    return Budget(**{"epochs": epochs, "batch_size": 16, "optimiser": Optimiser("adam", 0.01), **keys})


def slow_budget(epochs: int = 2, **keys: Any) -> Budget:
    """For attention: the gradient of its key's bias is zero but for rounding, which Adam must not blow up."""
    return budget(epochs, **{"optimiser": Optimiser("adam", 0.01, eps=1e-3), **keys})


@dataclass(frozen=True)
class Row:
    """How the properties of test_every_method.py are tried on a method.

    arguments: its hyper-parameters in these tests, where the defaults do not suit data this small.
    plain: hyper-parameters (besides `arguments`) that switch its novel part off; it must then equal the method
    `against`, called with `against_arguments`, bit for bit. None: nothing plain is contained in it.
    student, teachers: functions `classes -> model`; teachers by name, empty for a method without any. A single one
    called "teacher" is handed over as a model, otherwise the mapping is. learns: the teachers that the method trains.
    data: what it learns from. whole: what needs the whole batch at once (a term, a layer, a player), as a pattern of
    the error's words when a batch is cut into pieces; "": nothing does. by_place: the method draws at random by place
    in the data, so their order matters. ignores_classes: a teacher with other classes is as good (it teaches features
    or reads another label space). inherits: the student begins with its teacher's weights, whatever its own.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    plain: Mapping[str, Any] | None = None
    against: str = "supervised"
    against_arguments: Mapping[str, Any] = field(default_factory=dict)
    student: Model = small
    teachers: Mapping[str, Model] = field(default_factory=lambda: {"teacher": large})
    learns: frozenset[str] = frozenset()
    data: Callable[[], DataSet] = blobs
    budget: Callable[..., Budget] = budget
    whole: str = ""
    by_place: bool = False
    ignores_classes: bool = False
    inherits: bool = False


# `blobs` are no images: wider than 0..1.
ATTACK = {"epsilon": 0.2, "step_size": 0.1, "steps": 2, "value_range": (-20.0, 20.0)}

ROWS: dict[str, Row] = {
    "supervised": Row(teachers={}),
    "sp": Row(plain={"weight": 0.0}, whole="similarity", ignores_classes=True),
    "crd": Row(arguments={"negatives": 5, "width": 8}, plain={"weight": 0.0}, ignores_classes=True),
    "takd": Row(arguments={"argument": "hidden"}, plain={"count": 0}, against="kd"),
    "kd": Row(plain={"alpha": 0.0}, against="supervised"),
    "nkd": Row(plain={"gamma": 0.0, "target": 0.0}),
    "dkd": Row(arguments={"warmup_epochs": 1}, plain={"alpha": 0.0, "beta": 0.0}),
    "fitnets": Row(
        plain={"hint_share": 0.0, "hint": 0.0, "ce": 0.5, "kd": 0.5, "temperature": 4.0, "scale_by_t2": True},
        against="kd",
    ),
    "rkd": Row(plain={"distance": 0.0, "angle": 0.0}, whole="distance_relation", ignores_classes=True),
    "uskd": Row(teachers={}, plain={"alpha": 0.0, "beta": 0.0, "mu": 0.0}, whole="target_label"),
    "kd_aif": Row(
        plain={"rounds": 0, "temperature": 4.0, "scale_by_t2": True}, against="kd", against_arguments={"alpha": 1.0}
    ),
    # one virtual step on a batch is not the mean of one on each of its pieces
    "robust_active": Row(arguments={"queries": 8, "rounds": 2}, data=partial(blobs, unlabelled=30)),
    "tgeo_kd": Row(plain={"alpha": 0.5, "temperature": 4.0}, against="kd", whole="'controller'"),
    "adversarial": Row(arguments=ATTACK, plain={"epsilon": 0.0}, against="supervised", teachers={}),
    "hard": Row(
        plain={"augmented": 0.0},
        against="kd",
        against_arguments={"alpha": 1.0, "temperature": 2.0},
        student=small_cnn,
        teachers={"teacher": large_cnn},
        data=images,
        whole="agreement",
    ),
    "kd3": Row(
        # the untrained teacher alone decides, and is never surer than 0.63
        arguments={"embed": 8, "cutoff": 0.57, "blend_until": 2.0, "blend_steepness": 50.0},
        student=small_cnn,
        teachers={"teacher": large_cnn},
        data=partial(images, pool=40),
        whole="layer",
    ),
    "mtard": Row(arguments=ATTACK, teachers={"clean": large, "robust": large}),
    # its projector normalises over the batch
    "nd": Row(
        arguments={"warmup_epochs": 1},
        plain={"ce_weight": 0.5, "kd_weight": 0.5, "nd_weight": 0.0, "warmup_epochs": 0},
        against="kd",
        whole=r"layer 'projector\.0'",
    ),
    "bd_kd": Row(plain={"forward": 0.0, "reverse": 0.0}),
    "diswot": Row(
        arguments={"argument": "hidden", "choices": (4, 8), "semantic": 0.0, "batch": 16, "repeats": 2},
        plain={"search": "none", "ce": 0.5, "kd": 0.5},
        against="kd",
    ),
    "even_teacher": Row(arguments={"rounds": 3}, teachers={}),
    "lelp": Row(arguments={"subclasses": 2}, plain={"subclasses": 1, "alpha": 1.0}),
    "tinyclip": Row(
        plain={"mode": "scratch", "alpha": 0.0, "kappa": None},
        student=small_towers,
        teachers={"teacher": large_towers},
        data=pairs,
        budget=slow_budget,
        whole="affinity",
        ignores_classes=True,
        inherits=True,
    ),
    "trg": Row(
        arguments={"neighbours": 3, "sampled": 2},
        plain={"ce": 0.5, "kd": 0.5, "inner": 0.0, "local": 0.0, "contrast": 0.0},
        against="kd",
        student=small_cnn,
        teachers={"teacher": large_cnn},
        data=images,
        whole="neighbour_kl",
    ),
    "denoise": Row(student=small_denoiser, teachers={}, by_place=True),
    "disback": Row(
        arguments={"snapshots": 2, "recorded": 4, "interval": 1, "ratio": 2, "begin": "own", "weight": "uniform"},
        plain={"snapshots": 0},
        against="disback",
        against_arguments={
            "snapshots": 0,
            "recorded": 9,
            "interval": 7,
            "ratio": 2,
            "begin": "own",
            "weight": "uniform",
        },
        student=small_denoiser,
        teachers={"teacher": large_denoiser},
        by_place=True,
    ),
    "tinyvit": Row(
        arguments={"passes": 2, "top_k": 2, "check": 0.2},
        student=small_cnn,
        teachers={"teacher": large_cnn},
        data=partial(images, pool=40),
        ignores_classes=True,
    ),
    "redi": Row(
        arguments={"tries": 4, "share": 0.5, "temperature": 1e6},  # a loud teacher would write one text only
        student=small_lm,
        teachers={"teacher": large_lm},
        data=problems,
        budget=partial(budget, updates=8),
    ),
    "sequence_kd": Row(student=small_lm, teachers={"teacher": large_lm}, data=texts, by_place=True),
    "teacher_hacking": Row(
        arguments={"share": 0.5, "evaluations": 3},
        student=small_lm,
        teachers={"oracle": large_lm, "teacher": large_lm},
        data=partial(texts, n=12, pool=12),
        budget=partial(budget, updates=8),
        by_place=True,
    ),
    # one scale for the activations of a whole batch; share 0 knows no intervention
    "teacher_intervention": Row(
        arguments={"share": 0.75, "evaluations": 4, "keep_best": True},
        plain={"share": 0.0, "keep_best": False},
        against="teacher_intervention",
        against_arguments={"share": 0.0, "intervention": "stochastic", "rate": 1.0},
        student=small_bert,
        teachers={"teacher": small_bert},
        data=sentences,
        budget=partial(budget, updates=8),
        whole="eight_bit",
    ),
    "fastspeech2": Row(
        student=small_speaker,
        teachers={},
        data=speech,
        budget=slow_budget,
        by_place=True,
    ),
}
