"""What a student of demonstrations learned from: episodes by their numbers for people, by their digests for judges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from embodkd.data.lerobot import Demonstrations
    from embodkd.data.windows import Chunks


def items_of(data: Demonstrations, chunks: Chunks) -> dict[str, Any]:
    """Use -> digests of the episodes, as a policy keeps them."""
    import numpy as np
    import torch

    ends_E = np.cumsum(data.lengths_E) - 1
    parts = {"trained": chunks.train, "held_out": chunks.held_out}
    uses = {use: np.isin(ends_E, source.windows.episodes) for use, source in parts.items()}
    return {use: torch.from_numpy(data.digests_E[used_E]) for use, used_E in uses.items()}


def learned_by(policy: Path) -> Any:
    """Digests of all episodes that a teacher, or its teachers, learned from."""
    import torch

    from embodkd.policies import learned_from

    known = learned_from(policy) or {}
    return torch.cat([torch.zeros(0, dtype=torch.int64), *(v for n, v in known.items() if "trained" in n)]).unique()


def lineage_of(folders: Sequence[Path], parts: Sequence[Demonstrations], chunks: Chunks) -> list[dict[str, Any]]:
    """Of each dataset: how much of it was learned from, and the numbers of the episodes, those held out apart."""
    import numpy as np

    ends_E = np.cumsum(np.concatenate([part.lengths_E for part in parts])) - 1
    used, apart = (np.isin(ends_E, source.windows.episodes) for source in (chunks.train, chunks.held_out))
    found, at = [], 0
    for path, part in zip(folders, parts, strict=True):
        here = slice(at, at + len(part.lengths_E))
        at = here.stop
        either = used[here] | apart[here]
        found.append(
            {
                "dataset": str(path),
                "episodes": int(either.sum()),
                "frames": int(part.lengths_E[either].sum()),
                "trained": _numbers(part.episodes_E[used[here]]),
                "held_out": _numbers(part.episodes_E[apart[here]]),
            }
        )
    return found


def _numbers(values: np.ndarray) -> list[int]:
    return [int(value) for value in values]
