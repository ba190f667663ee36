"""What a verb's groups of keys are for: as the type of its field each names the constructor whose keywords they are.

So a verb's keys are checked to the last number when it is made, before it opens or writes anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from embodkd.core.config.ranges import Count, Threads
from embodkd.core.config.schema import Keys
from embodkd.core.sources.kinds import FACTS
from embodkd.rl.config import PPOConfig

Config = Mapping[str, Any]


@dataclass(frozen=True)
class EngineKeys:
    """The group `engine`."""

    name: Literal["mujoco", "bullet"]
    threads: Threads = 0
    cameras: Literal["auto", "rays", "shapes"] = "auto"


@dataclass(frozen=True)
class PPOKeys(PPOConfig):
    """The group `ppo`; steps: what `steps` is unless it is given."""

    steps: Count = 1_000_000


@dataclass(frozen=True)
class Devices:
    """The trainer's keys that a table leaves to the command line; None is what the table says."""

    device: Literal["cpu", "cuda", "auto"] | None = None
    precision: Literal["auto", "no", "bf16", "fp16", "float64"] | None = None
    compile: bool | None = None


_OF_TASK = ("num_envs", "engine", "threads", "cameras", "randomise")
_OF_POLICY = ("groups", "action_size")

Task = Annotated[Config, Keys("embodkd.envs:task_class", _OF_TASK, named=True)]
Engine = Annotated[Config, Keys("embodkd.cli.groups:EngineKeys")]
Randomise = Annotated[Config, Keys("embodkd.envs.randomise:Randomise")]
Student = Annotated[Config, Keys("embodkd.policies:POLICIES.get", _OF_POLICY, named=True)]
Network = Annotated[Config, Keys("embodkd.policies:POLICIES.get", _OF_POLICY, named=True, usual="mlp")]
Residual = Annotated[
    Config, Keys("embodkd.policies:ResidualPolicy", (*_OF_POLICY, "base", "base_arguments", "bounded"))
]
Method = Annotated[Config, Keys("embodkd.methods:get_method", named=True)]
Data = Annotated[Config, Keys("embodkd.data:DATA.get", ("seed",), named=True)]
Model = Annotated[Config, Keys("embodkd.models:MODELS.get", FACTS, named=True)]
Budget = Annotated[Config, Keys("embodkd.core:Budget")]
Trainer = Annotated[Config, Keys("embodkd.core:Trainer", ("run", "seed", "quiet"))]
PPO = Annotated[Config, Keys("embodkd.cli.groups:PPOKeys")]
TD3 = Annotated[Config, Keys("embodkd.rl.residual.config:TD3Config")]
ResidualPPO = Annotated[Config, Keys("embodkd.rl.residual.config:ResidualPPOConfig")]
