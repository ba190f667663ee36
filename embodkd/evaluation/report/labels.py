"""Short names for people: of several names only what tells them apart, never a clipped one."""

from __future__ import annotations

import re
from collections.abc import Sequence

TITLES = {"teacher": "Teacher", "student": "Student", "blind": "Blind twin"}
"""Folders of a demonstration, by which a page knows who is who."""


def labels(names: Sequence[str]) -> list[str]:
    """A label for each name, none of them twice: without the words that all begin or end with.

    A number keeps the word before it: `lr=0.1` and `lr=1` stay as they are, `a_run_2` and `a_run_10` end as `run_2`
    and `run_10`.
    """
    if len(names) < 2:
        return [TITLES.get(name.rpartition("/")[2], name) for name in names]
    words = [re.findall(r"[^/_,=\s-]*[/_,=\s-]+|[^/_,=\s-]+", name) for name in names]
    start = _common(words)
    while start and any(not rest or rest[0][0].isdecimal() for rest in (w[start:] for w in words)):
        start -= 1
    ends = [w[start:][::-1] for w in words]
    end = _common(ends)
    while end and any(not "".join(rest[end:]).strip("0123456789./_,=- ") for rest in ends):
        end -= 1
    short = ["".join(rest[end:][::-1]).rstrip("/_,=- ") for rest in ends]
    shown = [TITLES.get(label, label) for label in short]
    return shown if all(shown) and len(set(shown)) == len(names) else list(names)


def _common(words: Sequence[Sequence[str]]) -> int:
    """How many words all begin with."""
    count = 0
    for same in zip(*words, strict=False):
        if len(set(same)) > 1:
            break
        count += 1
    return count
