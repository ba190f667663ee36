"""How tests drive a stable-baselines3 learner and look at it."""

from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor, nn


class AfterCollection(BaseCallback):
    """Calls `look(model)` between collecting and learning."""

    def __init__(self, look: Callable[[Any], object]) -> None:
        super().__init__()
        self.look = look

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.look(self.model)


def weights(module: nn.Module) -> Tensor:
    """All parameters in one row, as they are now."""
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()
