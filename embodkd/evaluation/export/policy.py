"""A policy as one file for deployment, normaliser inside, and proof that it still acts as evaluation does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embodkd.evaluation.comparison import Comparison, compare
from embodkd.evaluation.export.formats import written
from embodkd.evaluation.export.graph import policy_graph
from embodkd.evaluation.export.parity import largest, parity, side_by_side
from embodkd.evaluation.export.program import Program
from embodkd.evaluation.result import Evaluation
from embodkd.policies.runner import Robot

if TYPE_CHECKING:
    from embodkd.envs import BatchTask
    from embodkd.policies import Policy

Episode = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Exported:
    """What was written, and how it was checked.

    worst: the largest difference of any action from a session of the policy, in normalised units, over `steps`
    recorded control steps. driven: the file's and the policy's own episodes, None where there were none.
    """

    path: Path
    format: str
    worst: float
    steps: int
    driven: tuple[Evaluation, Evaluation] | None = None

    @property
    def comparison(self) -> Comparison | None:
        """The file against the policy, None without episodes of their own."""
        return compare(*self.driven) if self.driven else None

    def __str__(self) -> str:
        size = self.path.stat().st_size / 1e6
        alike = f"acts like the policy within {self.worst:.1e} on {self.steps} recorded steps"
        text = f"{self.path} ({size:.2f} MB): {alike}"
        if self.driven is None:
            return text
        rates = [f"{100 * one.success_rate:.1f} %" for one in self.driven]
        return f"{text}; it succeeds in {rates[0]} of {self.driven[0].episodes} episodes, the policy in {rates[1]}"


def export_policy(
    policy: Policy,
    meta: Mapping[str, Any],
    path: str | Path,
    format: str = "onnx",
    tolerance: float = 1e-5,
    *,
    recorded: Sequence[Episode],
    task: BatchTask | None = None,
    episodes: int = 0,
    seed: int = 0,
) -> Exported:
    """Write `policy` to `path`, and keep the file only if it acts as the policy does in evaluation.

    `meta` is the policy's config.json; names, units, control rate and action scaling go into the file. Every action of
    the `recorded` episodes (group -> (T, *shape)) must agree within `tolerance`, in normalised units; in `task`, if
    given, file and policy also run `episodes` of their own from the same seeds, and their success rates may not differ
    by more than chance. ValueError if the format is unknown, nothing was recorded or the file acts differently (then
    nothing is left at `path` but what was there before); ImportError with the extra to install.
    """
    if not recorded:
        raise ValueError(
            f"{path}: there is no recorded episode to check the file on: the policy folder carries none and has no "
            "simulator; make the policy anew, or say task=... and transfer=true"
        )
    path = Path(path)
    with written(policy_graph(policy, meta), path, format) as draft:
        # The bytes, not the path: the file moves to its final place after the check.
        robot = Robot(draft.read_bytes()) if format == "onnx" else Program(draft)
        worst = largest([parity(policy, robot, episode) for episode in recorded])
        steps = sum(len(next(iter(episode.values()))) for episode in recorded)
        if not worst <= tolerance:
            raise ValueError(
                f"{path}: the exported file acts differently from the policy by {worst:.2g} of a normalised action "
                f"(tolerance {tolerance:g}); it was not kept; export in another format, or raise tolerance= if that "
                "much does not matter"
            )
        driven = side_by_side(policy, robot, task, episodes, seed) if task is not None and episodes else None
        exported = Exported(path, format, worst, steps, driven)
        found = exported.comparison
        if found is not None and found.verdict in ("better", "worse"):
            raise ValueError(f"{path}: the exported file is {found.verdict} than the policy ({found}); it was not kept")
    return exported
