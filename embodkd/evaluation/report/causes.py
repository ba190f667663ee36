"""Why episodes failed: each named cause with its count and share, in a colour that is the same all over a section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_COLOURS, _GREY = ("--c0", "--c1", "--c3", "--c4", "--c5"), "--c2"
_OTHER = "--other"
"""Of causes beyond the number of colours that an eye can tell apart; the grey one is lost beside it."""


@dataclass(frozen=True)
class Cause:
    """One of them: share is of all episodes, width of the longest bar of the section (both 0 to 1)."""

    name: str
    count: int
    share: float
    width: float
    colour: str


@dataclass(frozen=True)
class Failed:
    """What failed of one setting, the most frequent cause first."""

    label: str
    count: int
    episodes: int
    causes: tuple[Cause, ...]

    @property
    def share(self) -> float:
        """Of its episodes."""
        return self.count / self.episodes


def by_cause(found: Iterable[tuple[str, Iterable[Mapping[str, int]], int]]) -> list[Failed]:
    """Of each setting with failures: (label, the failures of each of its seeds, episodes of all of them).

    A cause has the colour of its rank in all of them together.
    """
    pooled = {label: (sum(map(Counter, seeds), Counter[str]()), episodes) for label, seeds, episodes in found}
    ranked = _most_frequent(sum((causes for causes, _ in pooled.values()), Counter[str]()))
    last = _GREY if len(ranked) == len(_COLOURS) + 1 else _OTHER
    colour = {name: _COLOURS[k] if k < len(_COLOURS) else last for k, name in enumerate(ranked)}
    longest = max((causes.total() / episodes for causes, episodes in pooled.values()), default=0.0)
    return [
        Failed(
            label,
            causes.total(),
            episodes,
            tuple(
                Cause(name.replace("_", " "), n, n / episodes, n / episodes / longest, colour[name])
                for name, n in _most_frequent(causes).items()
            ),
        )
        for label, (causes, episodes) in pooled.items()
        if causes
    ]


def _most_frequent(causes: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(causes.items(), key=lambda item: (-item[1], item[0])))
