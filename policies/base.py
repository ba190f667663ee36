"""What every policy is: a module from named observation groups to one action per row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from embodkd.policies.normaliser import Normaliser, RunningNormaliser
from embodkd.policies.sentences import Sentences
from torch import Tensor, nn

from embodkd.core.config.registry import Registry, near
from embodkd.core.config.schema import build, parameters
from embodkd.core.modules.modes import evaluating
from embodkd.core.sources.action import ActionFacts
from embodkd.core.sources.group import GroupFacts

POLICIES = Registry("policy")


class Policy(nn.Module):
    """Base of all policies. `reads` are the observation groups used, `inputs` their facts, `action_size` is A.

    A subclass takes `(groups, action_size, *, ...)`; what follows is the schema of its config. It calls
    `self._read(...)` first, so that a wrong group name or kind fails before anything is built. Vector groups are
    joined in the order of `vectors` and normalised by statistics that are part of the artefact. `action` says what
    the numbers are that it gives; each stays within bounds, those of a simulated task unless `acts` says others.
    """

    low_A: Tensor
    high_A: Tensor

    def __init__(self, action_size: int) -> None:
        super().__init__()
        self.action_size = int(action_size)
        for bound in ("low_A", "high_A"):
            self.register_buffer(bound, torch.empty(self.action_size), persistent=False)
        self.acts(ActionFacts.of_task(self.action_size))
        self.arguments: dict[str, Any] = {}
        self.inputs: dict[str, GroupFacts] = {}
        self.vectors: tuple[str, ...] = ()
        self.normaliser: Normaliser = RunningNormaliser(0)

    @classmethod
    def build(cls, groups: Mapping[str, Any], action_size: int, **arguments: Any) -> Policy:
        """Build from a task's groups and config keys; ValueError for a wrong key or group, naming the nearest."""
        where = f"policy {POLICIES.name_of(cls)}"
        policy = build(cls, arguments, where, groups=groups, action_size=action_size)
        known = parameters(cls)
        defaults = {n: p.default for n, p in known.items() if n not in ("groups", "action_size")}
        policy.arguments = {**defaults, **arguments}
        return policy

    @property
    def reads(self) -> tuple[str, ...]:
        """The observation groups that the policy is given."""
        return tuple(self.inputs)

    @property
    def privileged(self) -> bool:
        """Whether any group read would be unknown to a deployed robot."""
        return any(i.privileged for i in self.inputs.values())

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Mean action, unclipped, (N, A). `obs`: group name -> (N, *shape)."""
        raise NotImplementedError

    def act(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The deterministic action within its bounds, float32 (N, A); in evaluation mode whatever the mode was."""
        with self.acting():
            return self.clipped(self(self.tensors(obs))).float().cpu().numpy()

    def acts(self, action: ActionFacts) -> Self:
        """Say what its actions are; ValueError for another number of them."""
        if action.size != self.action_size:
            raise ValueError(f"policy {self._title()}: gives {self.action_size} actions, facts of {action.size} came")
        self.action = action
        self.low_A.copy_(torch.tensor(action.low))
        self.high_A.copy_(torch.tensor(action.high))
        return self

    def clipped(self, action: Tensor) -> Tensor:
        """Actions (..., A) in their own units, each within its bounds."""
        return torch.clamp(action, self.low_A.to(action), self.high_A.to(action))

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Evaluation mode and no gradients inside, the former modes afterwards."""
        with evaluating(self), torch.no_grad():
            yield

    def tensors(self, obs: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """The groups that the policy reads, on its device; floats in the type of its weights."""
        found = {name: torch.from_numpy(obs[name]) for name in self.inputs}
        return {n: v.to(self.device, self.dtype if v.is_floating_point() else None) for n, v in found.items()}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    @property
    def vector_size(self) -> int:
        """How many numbers `vector` gives, D."""
        return self.normaliser.size

    def vector(self, obs: Mapping[str, Tensor]) -> Tensor:
        """The vector groups joined and normalised, (N, D)."""
        return self.normaliser(torch.cat([obs[name] for name in self.vectors], dim=1))

    def update_statistics(self, obs: Mapping[str, Tensor | np.ndarray]) -> None:
        """Merge the vector groups of `obs` (..., D) into the normaliser (ignored once it is frozen)."""
        rows = [torch.as_tensor(obs[name]).flatten(0, -2) for name in self.vectors]
        self.normaliser.update(torch.cat(rows, dim=1))

    def _read(
        self, groups: Mapping[str, Any], vectors: Sequence[str], others: Sequence[str] = (), rank: int = 1
    ) -> None:
        """Note the groups read; ValueError if one is missing or of another rank than asked for, or none is a vector."""
        if not vectors:
            raise ValueError(f"policy {self._title()}: vectors: name at least one group that it reads, as [proprio]")
        for name, dims in [*((v, 1) for v in vectors), *((o, rank) for o in others)]:
            if name not in groups:
                raise ValueError(f"policy {self._title()}: no observation group {name!r}: {near(name, groups)}")
            seen = GroupFacts.of(groups[name])
            if len(seen.shape) != dims:
                kind = {1: "a vector", 2: "points (P, 3)", 3: "an image (C, H, W)"}[dims]
                raise ValueError(f"policy {self._title()}: group {name!r} has shape {seen.shape}, expected {kind}")
            self.inputs[name] = seen
        self.vectors = tuple(vectors)
        self.normaliser = RunningNormaliser(sum(self.inputs[v].shape[0] for v in vectors))

    def _title(self) -> str:
        return POLICIES.name_of(type(self))


def make_policy(name: str, groups: Mapping[str, Any], action_size: int, **arguments: Any) -> Policy:
    """Build the registered policy `name`; ValueError for an unknown name, key or group, or if what its sentences mean
    is to come from a language model that is not there."""
    policy: Policy = POLICIES.get(name).build(groups, action_size, **arguments)
    for part in policy.modules():
        if isinstance(part, Sentences):
            part.encode()
    return policy


def dense(sizes: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers of these widths, an activation after each but the last."""
    layers: list[nn.Module] = []
    for k, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers.append(nn.Linear(a, b))
        if k + 2 < len(sizes):
            layers.append(activation())
    return nn.Sequential(*layers)
