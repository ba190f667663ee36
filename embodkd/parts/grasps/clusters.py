"""Which tasks belong together, and in which order to learn them (UniDexGrasp++'s GeoCurriculum, section 4.2).

A task is an object in a pose; its features are the code of its points. A tree of k-means clusters is walked from its
root: first the task nearest to the middle of all, then those nearest to the middles of the first level, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Node:
    """Rows of the features that belong together, the one nearest to their mean, and the parts that they fall into."""

    rows: np.ndarray
    middle: int
    parts: list[Node] = field(default_factory=list)


def clusters(feature_TF: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Cluster of each task (T,), int64 from 0, numbered by first appearance. ValueError for more of them than tasks."""
    from sklearn.cluster import KMeans

    if not 1 <= count <= len(feature_TF):
        raise ValueError(f"clusters: {count} of {len(feature_TF)} tasks; take 1 to {len(feature_TF)}")
    found_T = KMeans(count, n_init=4, random_state=seed).fit_predict(np.asarray(feature_TF, dtype=np.float64))
    _, first, inverse_T = np.unique(found_T, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse_T]


def tree(feature_TF: np.ndarray, branches: int = 3, most: int = 30, seed: int = 0) -> Node:
    """Clusters of clusters until none holds more than `most` tasks; a cluster of equal tasks is not split.

    ValueError for no tasks or features that are no numbers.
    """
    feature_TF = np.asarray(feature_TF, dtype=np.float64)
    if feature_TF.ndim != 2 or not len(feature_TF) or not np.isfinite(feature_TF).all():
        raise ValueError(
            f"tree: features of shape {feature_TF.shape} must be a finite row per task, of one task at least"
        )
    return _node(feature_TF, np.arange(len(feature_TF)), branches, most, seed)


def _node(feature_TF: np.ndarray, rows: np.ndarray, branches: int, most: int, seed: int) -> Node:
    own = feature_TF[rows]
    middle = int(rows[((own - own.mean(axis=0)) ** 2).sum(axis=1).argmin()])
    distinct = len(np.unique(own, axis=0))
    if len(rows) <= most or distinct == 1:
        return Node(rows, middle)
    label = clusters(own, min(branches, distinct), seed)
    parts = [_node(feature_TF, rows[label == i], branches, most, seed) for i in range(label.max() + 1)]
    return Node(rows, middle, parts)


def levels(root: Node) -> Iterator[list[Node]]:
    """The nodes of each level, from the root."""
    level = [root]
    while level:
        yield level
        level = [part for node in level for part in node.parts]


def curriculum(root: Node) -> list[np.ndarray]:
    """The tasks of each stage, int64: the root's middle, with it those of the first level, ..., at last all tasks."""
    stages, known = [], np.array([], dtype=np.int64)
    for level in levels(root):
        known = np.union1d(known, [node.middle for node in level])
        stages.append(known)
    if len(stages[-1]) < len(root.rows):
        stages.append(np.sort(root.rows))
    return stages
