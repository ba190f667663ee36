"""How far each pair of an assembly has come, and by that why an episode fails, or that it is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from embodkd.envs.tasks.assembly.parts import LIFTED, UPRIGHT, Pair, Part

if TYPE_CHECKING:
    from embodkd.envs.tasks.assembly.task import Assembly

CAUSES = (
    "off_the_table", "undone", "tipped_at_the_mouth", "tipped_over", "dropped", "never_lifted", "out_of_time"
)  # fmt: skip
FALLEN = -0.03  # m: whatever is lower has left the table
FINGERS = ("finger-1", "finger1")
TIPPED = np.cos(np.radians(60))
_LIFTED, _AT_MOUTH, _TOGETHER = 1, 2, 3


def failures(pairs: tuple[Pair, ...]) -> tuple[str, ...]:
    """What may be the reason that an assembly fails: a cause, and the part that it befell."""
    return tuple(f"{pair.part}_{cause}" for pair in pairs for cause in CAUSES)


def come_to(task: Assembly) -> np.ndarray:
    """What each pair is at: 0 where its part stands, lifted, lifted at its base's mouth, or together, (N, K)."""
    found_NK = np.zeros(task.joined_NK.shape, np.int64)
    for k, pair in enumerate(task.pairs):
        seen = task.relative(pair)
        lifted = task.part(pair.part).position[:, 2] - _part(task, pair).height > LIFTED
        beside = np.hypot(seen.position[:, 0], seen.position[:, 1]) < pair.near
        found_NK[:, k] = np.select([pair.joined(seen), lifted & beside, lifted], [_TOGETHER, _AT_MOUTH, _LIFTED])
    return found_NK


def failure(task: Assembly, most_NK: np.ndarray) -> np.ndarray:
    """Index into ``failures`` of why an episode that ends now has failed, (N,); ``most_NK`` is what each pair came to.

    It befell the part of the first pair that is not joined at the moment: it has left the table; it was together with
    its base; it lies tipped over, and has been at its base's mouth, or has not; it stands where it was let go; it was
    never lifted; time is up.
    """
    open_NK = ~np.stack([task.is_joined(pair) for pair in task.pairs], axis=1)
    cause_NK = np.zeros(open_NK.shape, np.int64)
    for k, pair in enumerate(task.pairs):
        most, part = most_NK[:, k], _part(task, pair)
        low = task.part(part.name).position[:, 2] < part.height + LIFTED
        # a part that lay at the start is tipped where it was lifted and lies again
        tipped = _tilted(task, part) & low & ((most >= _LIFTED) | _stood(part))
        cause_NK[:, k] = np.select(
            [
                _fallen(task, part),
                (most == _TOGETHER) & ~pair.joined(task.relative(pair)),
                tipped & (most >= _AT_MOUTH),
                tipped,
                low & (most >= _LIFTED),
                most < _LIFTED,
            ],
            range(len(CAUSES) - 1),
            default=len(CAUSES) - 1,
        )
    first_N = np.argmax(open_NK, axis=1)
    return len(CAUSES) * first_N + cause_NK[np.arange(task.num_envs), first_N]


def lost(task: Assembly) -> np.ndarray:
    """Which copies have a part that nobody has been taught to recover, (N,).

    It has left the table; or it stood at the start and lies on the table, tipped by more than 60 degrees, and touches
    neither the fingers nor its base: what is held or leans there may still come to its place.
    """
    found_N = np.zeros(task.num_envs, bool)
    for pair in task.pairs:
        part = _part(task, pair)
        found_N |= _fallen(task, part)
        if _stood(part):
            tipped = np.flatnonzero(_tilted(task, part) & ~found_N)
            if tipped.size:
                touched = task.world.touched(part.name, tipped)
                found_N[tipped] = ["world" in t and not t & {pair.base, *FINGERS} for t in touched]
    return found_N


def _part(task: Assembly, pair: Pair) -> Part:
    return task.parts[task.order[pair.part]]


def _stood(part: Part) -> bool:
    return part.quat == UPRIGHT


def _fallen(task: Assembly, part: Part) -> np.ndarray:
    return task.world.position(part.name)[:, 2] < FALLEN


def _tilted(task: Assembly, part: Part) -> np.ndarray:
    return task.world.rotation(part.name)[:, 2, 2] < TIPPED
