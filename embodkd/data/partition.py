"""From arrays to splits: stratified parts, long tails, corrupted copies of a test."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Splits, TensorData
from embodkd.core.sources.splits import Items
from embodkd.data.corruptions import corrupt

Fields = Mapping[str, Tensor]


def stratified_order(label_N: np.ndarray, seed: int) -> np.ndarray:
    """A random order in which every stretch has nearly the classes' proportions of the whole.

    The k-th of the n_c items of class c (shuffled) gets the place (k + 1/2) / n_c; items are sorted by place, ties at
    random. So parts cut from it one after the other are stratified, and a larger part contains the smaller one.
    """
    rng = np.random.default_rng((seed, 0x57A7))
    place_N = np.empty(len(label_N))
    for label in np.unique(label_N):
        rows = rng.permutation(np.flatnonzero(label_N == label))
        place_N[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.lexsort((rng.random(len(label_N)), place_N))


def cut(rows: np.ndarray, sizes: Mapping[str, int], where: str, rest: str | None = None) -> dict[str, np.ndarray]:
    """Consecutive parts of `rows` with these sizes, and what remains as the part `rest` (at least one item).

    ValueError if a size is negative or there are not enough rows.
    """
    wrong = {name: size for name, size in sizes.items() if size < 0}
    needed = sum(sizes.values()) + (rest is not None)
    if wrong or needed > len(rows):
        asked = ", ".join(f"{name}={size}" for name, size in sizes.items())
        left = f" and at least 1 must be left for {rest}" if rest else ""
        raise ValueError(f"{where}: {asked} of {len(rows)} items{left}; give sizes >= 0 with a smaller sum")
    ends = np.cumsum([0, *sizes.values()])
    parts = {name: rows[a:b] for name, a, b in zip(sizes, ends[:-1], ends[1:], strict=True)}
    return parts | ({rest: rows[ends[-1] :]} if rest else {})


def by_concept(
    concept_N: Tensor, label_N: Tensor, validation: float, test: float, seed: int, where: str
) -> dict[str, np.ndarray]:
    """Rows of the three splits, such that the items of a concept stay together; stratified by label.

    validation, test: shares of the concepts.
    """
    concepts, first = np.unique(concept_N.numpy(), return_index=True)
    order = stratified_order(label_N.numpy()[first], seed)
    sizes = {"validation": round(validation * len(order)), "test": round(test * len(order))}
    parts = cut(order, sizes, where, rest="train")
    return {name: np.flatnonzero(np.isin(concept_N.numpy(), concepts[part])) for name, part in parts.items()}


def long_tail(label_N: np.ndarray, classes: int, imbalance: float, where: str) -> np.ndarray:
    """Rows to keep so that class sizes fall exponentially from class 0 to the last one.

    Class c keeps round(n * imbalance**(-c / (C - 1))) of its rows, n the largest class's size (Cui et al., CVPR
    2019): `imbalance` is the ratio between the most and the least frequent class, 1 keeps all. ValueError for one
    that no class of this size can have.
    """
    if imbalance < 1:
        raise ValueError(f"{where}: imbalance is the ratio of the largest to the smallest class, >= 1; got {imbalance}")
    if imbalance == 1:
        return np.arange(len(label_N))
    largest = np.bincount(label_N, minlength=classes).max()
    if imbalance > largest:
        raise ValueError(
            f"{where}: imbalance={imbalance:g} leaves the last class no item of the {largest} that the largest one "
            "has; take a smaller one, or more items"
        )
    kept = []
    for c in range(classes):
        rows = np.flatnonzero(label_N == c)
        kept.append(rows[: max(1, round(largest * imbalance ** (-c / max(1, classes - 1))))])
    return np.sort(np.concatenate(kept))


def take(fields: Fields, rows: np.ndarray) -> TensorData:
    """The given rows of every field as a data set."""
    index = torch.from_numpy(np.ascontiguousarray(rows, np.int64))
    return TensorData({name: value[index] for name, value in fields.items()})


def corrupted(test: TensorData, severities: Mapping[str, int], seed: int, first_id: int) -> dict[str, TensorData]:
    """One corrupted copy of `test` per entry {corruption: severity 1..5}.

    Copies have sample ids of their own: the k-th has (k + 1) * first_id + the id of the clean item (< first_id).
    """
    copies = {}
    for k, (name, severity) in enumerate(severities.items(), 1):
        fields = dict(test.fields)
        fields["input"] = corrupt(name, fields["input"], severity, seed)
        fields["sample_id"] = fields["sample_id"] + k * first_id
        copies[name] = TensorData(fields)
    return copies


def split(
    fields: Fields,
    names: Sequence[str],
    *,
    source: str,
    seed: int,
    train: int,
    validation: int,
    unlabelled: int = 0,
    imbalance: float = 1.0,
    corruptions: Mapping[str, int] | None = None,
    test: Fields | None = None,
    items: Tensor | None = None,
    test_items: Tensor | None = None,
    where: str,
) -> Splits:
    """Cut a data set into its parts, see `Splits`.

    fields: input (N, C, H, W) in [0, 1], label (N,), more if wanted; `sample_id` is added (the row number). names: of
    the classes. test: the source's own test set; without one, what is left over is the test.
    source, items (N,), test_items: see `Items`; without numbers, rows are counted, those of `test` behind the others.
    unlabelled: so many further items become the extra part "unlabelled"; their labels stay for measuring, a method
    that uses them says so. imbalance: see `long_tail`, of the training part. corruptions: see `corrupted`.
    """
    count, classes = len(fields["label"]), len(names)
    order = stratified_order(fields["label"].numpy(), seed)
    sizes = {"validation": validation, "train": train, "unlabelled": unlabelled}
    parts = cut(order, sizes, where, rest="test" if test is None else None)
    label_N = fields["label"].numpy()[parts["train"]]
    parts["train"] = parts["train"][long_tail(label_N, classes, imbalance, where)]
    for name in ("train", "validation"):
        if not len(parts[name]):
            raise ValueError(f"{where}: {name}=0 leaves this part empty; give at least 1")
    fields = {**fields, "sample_id": torch.arange(count)}
    items = torch.arange(count) if items is None else items
    rows = {name: items[torch.from_numpy(part)] for name, part in parts.items() if len(part)}
    total = count
    if test is None:
        judged = take(fields, parts["test"])
    else:
        judged = TensorData({**test, "sample_id": count + torch.arange(len(test["label"]))})
        rows["test"] = judged.fields["sample_id"] if test_items is None else test_items
        total += judged.size()
    extra = {"unlabelled": take(fields, parts["unlabelled"])} if unlabelled else {}
    copies = corrupted(judged, corruptions or {}, seed, total)
    return Splits(
        train=take(fields, parts["train"]),
        validation=take(fields, parts["validation"]),
        test=judged,
        classes=classes,
        shape=tuple(fields["input"].shape[1:]),
        extra=extra | copies,
        names=tuple(names),
        items=Items(source, rows | dict.fromkeys(copies, rows["test"]), tuple(extra)),
    )


def from_package(module: str, name: str, extra: str = "vision") -> Any:
    """A module that carries or makes the data set `name`, imported now; ValueError that says how to install it."""
    top = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, top):
            raise
        raise ValueError(
            f"data {name}: needs the package {top}, which is missing: pip install 'embodkd[{extra}]'"
        ) from error
