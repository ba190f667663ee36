"""The cross-engine matrix: every policy judged in every engine, our stand-in for sim-to-real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embodkd.core import Actor
from embodkd.evaluation.judge import evaluate
from embodkd.evaluation.result import Evaluation, write_result


@dataclass(frozen=True)
class Transfer:
    """``cells[policy, engine]``: one evaluation per policy (row) and engine (column), all on the same seeds."""

    cells: dict[tuple[str, str], Evaluation]

    def save(self, path: str | Path) -> Path:
        """Write transfer.json; a folder gets a file of that name inside."""
        cells: list[dict[str, Any]] = [
            {"policy": policy, "engine": engine, **evaluation.as_dict()}
            for (policy, engine), evaluation in self.cells.items()
        ]
        return write_result(path, "transfer.json", {"cells": cells}, self)

    def __str__(self) -> str:
        policies = list(dict.fromkeys(policy for policy, _ in self.cells))
        engines = list(dict.fromkeys(engine for _, engine in self.cells))
        width = max(map(len, policies)) + 2
        lines = [" " * width + "".join(f"{'judged in ' + engine:>30}" for engine in engines)]
        for policy in policies:
            row = ""
            for engine in engines:
                cell = self.cells[policy, engine]
                low, high = cell.ci95
                row += f"{f'{100 * cell.success_rate:.1f} % ({100 * low:.1f} to {100 * high:.1f})':>30}"
            lines.append(f"{policy:<{width}}{row}")
        return "\n".join(lines)


def transfer(
    policies: Mapping[str, Actor],
    task: str,
    options: Mapping[str, Any] | None = None,
    *,
    engines: Sequence[str] = ("mujoco", "bullet"),
    episodes: int = 100,
    seed: int = 0,
    copies: int = 64,
    quiet: bool = False,
    folders: Mapping[str, str | Path] | None = None,
) -> Transfer:
    """Judge every one of ``policies`` (label -> policy, e.g. "teacher from mujoco") on ``task`` in every engine.

    ``folders`` says by label where policies were loaded from, for the manifests.
    """
    if not policies:
        raise ValueError("transfer: no policy given")
    cells = {}
    for label, policy in policies.items():
        for engine in engines:
            settings = {**(options or {}), "engine": engine}
            cells[label, engine] = evaluate(
                policy,
                task,
                settings,
                episodes=episodes,
                seed=seed,
                copies=copies,
                policy_folder=(folders or {}).get(label),
                transfer=True,
                quiet=quiet,
            )
    return Transfer(cells)
