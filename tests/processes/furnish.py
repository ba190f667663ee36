"""What commands for robots begin with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from embodkd.envs import make_task
from embodkd.policies import make_policy, save_policy, task_record

from embodkd.data.lerobot import Recording, write_dataset


def furnished(folder: Path) -> Path:
    """What the commands need: an untrained expert of the peg task and demonstrations."""
    world = make_task("peg_hole", 1)
    try:
        spec = world.spec
        torch.manual_seed(0)
        expert = make_policy("mlp", spec.groups, spec.action_size, vectors=["proprio", "privileged"])
        save_policy(folder / "runs/expert/policy", expert, task=task_record(spec))
        generator = np.random.default_rng(0)
        groups = {"proprio": spec.groups["proprio"]}
        episodes = [
            Recording(
                {"proprio": generator.normal(size=(20, *groups["proprio"].shape)).astype(np.float32)},
                generator.uniform(-1, 1, (20, spec.action_size)).astype(np.float32),
                np.zeros(20, np.float32),
                success=True,
                seed=k,
            )
            for k in range(3)
        ]
        write_dataset(folder / "demos", episodes, groups, fps=spec.control_hz, task=task_record(spec))
    finally:
        world.close()
    return folder
