"""Short sentences of everyday English: the examples of use in WordNet."""

from __future__ import annotations

import re
from functools import cache

from embodkd.data.text.wordnet import examples

_PLAIN = re.compile(r"[A-Za-z' ]+")
_WORDS, _LETTERS = (4, 9), 44


@cache
def sentences() -> tuple[str, ...]:
    """Each once, in the order of its first occurrence: 4 to 9 words of letters and apostrophes, without punctuation.

    ValueError that names the command to fetch WordNet if it is not there.
    """
    plain = (example for example in examples() if _PLAIN.fullmatch(example) and len(example) <= _LETTERS)
    return tuple(dict.fromkeys(text for text in plain if _WORDS[0] <= len(text.split()) <= _WORDS[1]))


def some(count: int, seed: int) -> list[str]:
    """So many of them at random; ValueError if there are fewer."""
    import numpy as np

    found = sentences()
    if count > len(found):
        raise ValueError(f"{count} sentences: there are {len(found)}; ask for less")
    return [found[k] for k in np.random.default_rng((seed, 0x5E47)).permutation(len(found))[:count]]
