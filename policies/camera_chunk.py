"""A camera student by plain regression that scales its actions as chunk policies do: for absolute, precise poses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from embodkd.policies.base import POLICIES, dense
from embodkd.policies.cameras import Trunks
from embodkd.policies.chunk import ChunkPolicy, History
from embodkd.policies.colours import mixed, standardised
from embodkd.policies.scaling import Scaling
from embodkd.policies.sentences import Language
from torch import Tensor, nn
from torch.nn import functional

from embodkd.core.config.ranges import Horizon, NotNegative, Width


@POLICIES.register("camera_chunk", modality="rgb")
class CameraChunk(ChunkPolicy):
    """Convolutions per camera, vectors, ReLU layers; predicts `horizon` actions and carries all of them out.

    Each image keeps its places (the last feature map is flattened, not averaged): millimetres count. The loss is
    smooth L1 with the threshold `smooth_l1_beta` on normalised actions. Without cameras it is its own blind twin.

    Against looks that it has never seen: `standardise` takes mean and contrast from each channel of each picture, and
    `jitter` mixes the colours of each picture anew whenever it is learned from (see `colours`).
    """

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        cameras: tuple[str, ...] = ("wrist_rgb", "front_rgb"),
        vectors: tuple[str, ...] = ("proprio",),
        horizon: Horizon = 1,
        channels: tuple[Width, ...] = (16, 32, 64, 64),
        hidden: tuple[Width, ...] = (256, 256),
        smooth_l1_beta: NotNegative = 0.05,
        scaling: Scaling = "range",
        sentences: tuple[str, ...] | None = None,
        language: Language = "learned",
        standardise: bool = False,
        jitter: NotNegative = 0.0,
    ) -> None:
        super().__init__(action_size, horizon, execute=horizon, scaling=scaling)
        self._read(groups, vectors, cameras, rank=3)
        self._hear(groups, sentences, language)
        self.beta, self.trunks = smooth_l1_beta, Trunks(self.inputs, cameras, channels)
        self.standardise, self.jitter = standardise, jitter
        self.head = dense([self.trunks.features + self.vector_size, *hidden, horizon * action_size], nn.ReLU)

    def chunk(self, obs: Mapping[str, Tensor], history: History | None = None) -> Tensor:
        """The next actions, normalised, (N, H, A), whatever came before."""
        seen = {name: standardised(obs[name]) for name in self.trunks.cameras} if self.standardise else obs
        actions_NF = self.head(torch.cat([*self.trunks(seen), self.vector(obs)], dim=1))
        return actions_NF.unflatten(1, (self.horizon, self.action_size))

    def errors(self, obs: Mapping[str, Tensor], actions_NHA: Tensor) -> Tensor:
        """Smooth L1 of the normalised actions, (N, H, A)."""
        if self.jitter and self.training:
            obs = {**obs, **{name: mixed(obs[name], self.jitter) for name in self.trunks.cameras}}
        found_NHA, target_NHA = self.chunk(obs), self.actions.normalise(actions_NHA)
        return functional.smooth_l1_loss(found_NHA, target_NHA, beta=self.beta, reduction="none")
