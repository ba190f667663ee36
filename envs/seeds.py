"""Which episodes are whose: none that was learned from, or recorded, is judged on, whatever the seeds.

Episodes have numbers.  Each number of a block of 2**32 belongs to one purpose: the first ten million are judged on, and
those of training and recording lie behind, each in a room of its own.  A seed whose numbers would leave the room of its
purpose has them in a later block.
"""

from __future__ import annotations

import numpy as np

BLOCK = 2**32
LEARNING_JUDGE = 1_000_000_007
"""The first of those that a training is judged on while it goes on; the same for all of its seeds."""
EXAMPLE = 4_000_000_007
"""The one that a policy folder carries; the next is for those who have none."""
_REHEARSAL, _REHEARSED = 4_100_000_003, 100_000_000
_TRAINING, _TRAINING_ROOM = 2_000_000_011, 998_000_000
_RECORDING, _RECORDED, _RECORDERS = 3_000_000_019, 1_000_003, 990


def judged(seed: int, episodes: int) -> np.ndarray:
    """Episode i of evaluation seed s is s * 2**32 + i, int64 (E,); ``ValueError`` for a seed that is out of range."""
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed is {seed}; choose 0 to {2**31 - 1}")
    return seed * BLOCK + np.arange(episodes, dtype=np.int64)


def rehearsed(episodes: int) -> np.ndarray:
    """Those that recordings are tried on to choose the best, int64 (E,); the same whatever it is judged on."""
    assert episodes <= _REHEARSED, "the rest of the block"
    return _REHEARSAL + np.arange(episodes, dtype=np.int64)


def training(seed: int, copies: int) -> int:
    """The first episode of copy 0 of a training with this seed; that of copy i is i more."""
    block, place = divmod(seed * copies, _TRAINING_ROOM)
    return block * BLOCK + _TRAINING + place


def recorded(seed: int, first: int, episodes: int) -> np.ndarray:
    """The episodes from number ``first`` on of a recording with this seed, int64 (E,).

    ``ValueError`` if it has had all of its own: what follows is the next seed's.
    """
    if first + episodes > _RECORDED:
        raise ValueError(f"a recording has {_RECORDED:,} episodes of a seed to choose from; go on with another seed")
    block, place = divmod(seed, _RECORDERS)
    return block * BLOCK + _RECORDING + place * _RECORDED + first + np.arange(episodes, dtype=np.int64)
