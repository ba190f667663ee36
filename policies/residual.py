"""ResiP's sum of two policies (arXiv 2407.16677): a frozen one that plans, and small corrections of its actions."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from embodkd.policies.base import POLICIES, Policy, dense
from embodkd.policies.chunk import ChunkPolicy
from embodkd.policies.mlp_chunk import MLPChunk
from torch import Tensor, nn

from embodkd.core.config.ranges import Horizon, NotNegative, Width
from embodkd.core.sources.chunks import CHUNK, in_chunks


@POLICIES.register("residual", modality="chunk")
class ResidualPolicy(Policy):
    """base + alpha * head(normalised state, base's next action), in the base's normalised actions.

    base: a policy that predicts chunks, built from `base_arguments`; it never learns again. `residual_on` puts a
    trained one there. every: control steps between two looks of the head; it then corrects that many actions of the
    base at once (1: closed loop; the base's `execute`: one correction per chunk). sees_base: whether the head is told
    the actions that it corrects. bounded: a correction is squeezed into -1..1 by tanh. fine_tune: in place of a small
    head, a copy of the base itself learns (an mlp_chunk's, one correction per chunk). The head starts at zero, so the
    sum starts as the base.
    """

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        base: str = "diffusion",
        base_arguments: Mapping[str, Any] | None = None,
        alpha: NotNegative = 0.1,
        every: Horizon = 1,
        hidden: tuple[Width, ...] = (256, 256),
        sees_base: bool = True,
        bounded: bool = False,
        fine_tune: bool = False,
    ) -> None:
        super().__init__(action_size)
        frozen = POLICIES.get(base).build(groups, action_size, **dict(base_arguments or {}))
        if not isinstance(frozen, ChunkPolicy):
            raise ValueError(
                f"policy residual: base {base!r} predicts no chunks of actions; diffusion and mlp_chunk do"
            )
        if every < 1 or frozen.execute % every:
            raise ValueError(
                f"policy residual: every={every} does not divide the {frozen.execute} actions that the base carries "
                "out of each chunk; choose a divisor"
            )
        self.base = frozen.requires_grad_(False)
        self.inputs, self.vectors = frozen.inputs, frozen.vectors
        self.normaliser = frozen.normaliser.freeze()
        frozen.actions.freeze()
        self.alpha, self.every, self.sees_base, self.bounded = alpha, every, sees_base, bounded
        self.outputs = every * action_size
        self.seen_size = self.normaliser.size + (self.outputs if sees_base else 0)
        self.hidden = tuple(hidden)
        self.head: nn.Module
        if fine_tune:
            if not isinstance(frozen, MLPChunk) or every != frozen.execute or not sees_base or bounded:
                raise ValueError(
                    "policy residual: fine_tune copies an mlp_chunk: say every=its horizon and sees_base=true, and "
                    "learn by learner=ppo"
                )
            self.head = Copy(frozen, alpha)
        else:
            self.head = relu_layers([self.seen_size, *hidden, self.outputs], bias=False)
            nn.init.zeros_(last_linear(self.head).weight)

    def seen(self, obs: Mapping[str, Tensor], base_NEA: Tensor) -> Tensor:
        """What the head gets: normalised, clamped state and the base's next `every` actions, normalised, (N, S)."""
        state_ND = self.vector(obs)
        return torch.cat([state_ND, base_NEA.flatten(1)], dim=1) if self.sees_base else state_ND

    def correction(self, seen_NS: Tensor) -> Tensor:
        """The head's deterministic corrections, in units of alpha, (N, F)."""
        correction_NF: Tensor = self.head(seen_NS)
        return correction_NF.tanh() if self.bounded else correction_NF

    def corrected(self, base_NEA: Tensor, correction_NF: Tensor) -> Tensor:
        """The sum in the actions' own units, unclipped, (N, E, A); corrections are in units of alpha."""
        return self.base.actions.denormalise(base_NEA + self.alpha * correction_NF.view_as(base_NEA))

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """The first action of an episode that starts here, unclipped, (N, A)."""
        base_NEA = self.base.chunk(obs, self.base.beginning(obs))[:, : self.every]
        return self.corrected(base_NEA, self.correction(self.seen(obs, base_NEA)))[:, 0]

    def session(self, copies: int, chunk: int = CHUNK) -> ResidualSession:
        """Act in `copies` environments; networks are called with `chunk` rows at a time."""
        return ResidualSession(self, copies, chunk)

    def train(self, mode: bool = True) -> Self:
        """The head's mode; the base is never in training mode."""
        super().train(mode)
        self.base.eval()
        return self


class Copy(nn.Module):
    """A copy of an MLP-C that learns: its actions less those of the original, in units of alpha."""

    def __init__(self, base: MLPChunk, alpha: float) -> None:
        super().__init__()
        self.layers = copy.deepcopy(base.layers).requires_grad_(True)
        self.state_size, self.alpha = base.normaliser.size, alpha
        self.eval()

    def forward(self, seen_NS: Tensor) -> Tensor:
        """State and the base's actions (N, S) -> (N, F)."""
        state_ND, base_NF = seen_NS[:, : self.state_size], seen_NS[:, self.state_size :]
        difference_NF: Tensor = (self.layers(state_ND) - base_NF) / self.alpha
        return difference_NF

    def train(self, mode: bool = True) -> Self:
        """Never in training mode, where the copy would drop units that the original does not."""
        return super().train(False)


class ResidualSession:
    """The sum in `copies` environments: the base's session, and a queue of corrected actions for each of them."""

    def __init__(self, policy: ResidualPolicy, copies: int, chunk: int = CHUNK) -> None:
        self.policy, self.copies, self.chunk = policy, copies, chunk
        self.base = policy.base.session(copies, chunk)
        self._queue_NEA = np.zeros((copies, policy.every, policy.action_size), np.float32)
        self._taken_N = np.full(copies, policy.every)

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Episodes start in these copies (None: all): forget what was planned there."""
        self.base.begin(ids)
        self._taken_N[slice(None) if ids is None else ids] = self.policy.every

    def next_base(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """The base's next `every` actions of each copy in `ids`, normalised, float32 (n, E, A)."""
        # `every` divides the base's queue: only the first of these calls may have to look at the observation.
        return np.stack([self.base.next_base(obs, ids) for _ in range(self.policy.every)], axis=1)

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """The next action of each copy in its own units, within its bounds, float32 (n, A)."""
        ids = np.arange(self.copies) if ids is None else np.asarray(ids)
        empty = np.flatnonzero(self._taken_N[ids] == self.policy.every)
        if empty.size:
            rows = {name: obs[name][empty] for name in self.policy.reads}
            base_NEA = self.next_base(rows, ids[empty])
            self._queue_NEA[ids[empty]] = in_chunks(self._correct, rows, base_NEA, chunk=self.chunk)
            self._taken_N[ids[empty]] = 0
        action_NA = self._queue_NEA[ids, self._taken_N[ids]]
        self._taken_N[ids] += 1
        return action_NA

    def _correct(self, rows: Mapping[str, np.ndarray], base_NEA: np.ndarray) -> np.ndarray:
        policy, base = self.policy, torch.from_numpy(base_NEA).to(self.policy.device, self.policy.dtype)
        # Neither head nor scaling has a training mode.
        with torch.no_grad():
            correction_NF = policy.correction(policy.seen(policy.tensors(rows), base))
            return policy.clipped(policy.corrected(base, correction_NF)).float().cpu().numpy()


def residual_on(base: ChunkPolicy, **arguments: Any) -> ResidualPolicy:
    """A residual policy around a copy of `base`, weights and ranges included; `arguments` as ResidualPolicy's."""
    given = {"base": POLICIES.name_of(type(base)), "base_arguments": base.arguments}
    policy = ResidualPolicy.build(base.inputs, base.action_size, **given, **arguments).acts(base.action)
    assert isinstance(policy, ResidualPolicy)
    policy.base.load_state_dict(base.state_dict())
    if isinstance(policy.head, Copy) and isinstance(base, MLPChunk):
        policy.head.layers.load_state_dict(base.layers.state_dict())
    return policy


def relu_layers(sizes: Sequence[int], bias: bool = True) -> nn.Sequential:
    """Linear layers with ReLU between them: hidden ones Kaiming-normal without offset; `bias` is the last one's."""
    layers = dense(sizes, nn.ReLU)
    layers[-1] = nn.Linear(sizes[-2], sizes[-1], bias=bias)
    for layer in list(layers)[:-1]:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / layer.in_features))
            nn.init.zeros_(layer.bias)
    return layers


def last_linear(layers: nn.Sequential) -> nn.Linear:
    """The last layer of `relu_layers`."""
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    return last
