"""All that PPO needs to go on bit for bit: weights, optimiser, statistics, random numbers, running episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
import torch

from embodkd.core.rng import rng_state, set_rng_state
from embodkd.core.run import RunFolder
from embodkd.rl.ppo import PPO

Record = TypeVar("Record")


def save(run: RunFolder, learner: PPO, record: Any) -> None:
    """Write a checkpoint of `learner` and of `record` (a dataclass of plain values) at its current step."""
    tensors, rng = rng_state()
    tensors |= {f"net.{name}": value for name, value in learner.policy.state_dict().items()}
    tensors |= {f"stream.{name}": np.asarray(value) for name, value in learner.stream.state_dict().items()}
    assert isinstance(learner._last_obs, dict), "a checkpoint is taken between iterations"
    # Kept although the stream could observe again: a quantity of the engine's last step need not come back by itself.
    tensors |= {f"obs.{name}": value for name, value in learner._last_obs.items()}
    tensors["running_return"] = learner.running_return_N
    optimiser = learner.policy.optimizer.state_dict()
    for index, slots in optimiser["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in slots.items()}
    state = {
        "rng": rng,
        "rates": [group["lr"] for group in optimiser["param_groups"]],
        "iteration": learner.iteration,
        "primed": learner.primed,
        "record": asdict(record),
    }
    run.save_checkpoint(learner.num_timesteps, tensors, state)


def restore(run: RunFolder, learner: PPO, record: Callable[..., Record]) -> Record:
    """Put the newest checkpoint, if there is one, into `learner`; returns its record, or a new one."""
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        return record()
    tensors, state = checkpoint.tensors, checkpoint.state
    learner.policy.load_state_dict({n: torch.as_tensor(v) for n, v in _under(tensors, "net.").items()})
    optimiser = learner.policy.optimizer.state_dict()
    optimiser["state"] = {}
    for name, value in _under(tensors, "optimiser.").items():
        index, _, slot = name.partition(".")
        optimiser["state"].setdefault(int(index), {})[slot] = torch.as_tensor(value)
    for group, rate in zip(optimiser["param_groups"], state["rates"], strict=True):
        group["lr"] = rate
    learner.policy.optimizer.load_state_dict(optimiser)
    learner.stream.load_state_dict(_under(tensors, "stream."))
    learner._last_obs = _under(tensors, "obs.")
    learner.running_return_N[:] = tensors["running_return"]
    learner.num_timesteps = checkpoint.step
    learner.iteration, learner.primed = state["iteration"], state["primed"]
    set_rng_state(tensors, state["rng"])
    return record(**state["record"])


def _under(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
