"""A training takes whole iterations: what the steps that it was asked for come to, said before it begins."""

from __future__ import annotations

from dataclasses import replace

from embodkd.core import RunFolder
from embodkd.rl.config import LoopConfig


def in_whole(config: LoopConfig, steps: int, iterations: str, run: RunFolder) -> LoopConfig:
    """`config` with the `steps` that its own are in whole `iterations`, a noun; a line says so where they differ."""
    if steps != config.steps and not config.quiet:
        print(f"{run.path}: {config.steps:,} steps are {steps:,}: whole {iterations}", flush=True)
    return replace(config, steps=steps)
