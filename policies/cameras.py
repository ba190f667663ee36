"""Students that see: convolutions per camera, the robot's own joints appended, a small head. And their blind twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from embodkd.policies.base import POLICIES, Policy, dense
from torch import Tensor, nn

from embodkd.core.config.ranges import Width
from embodkd.core.sources.group import GroupFacts


class Trunk(nn.Sequential):
    """Four convolutions (kernels 5, 3, 3, 3; stride 2) on an image of bytes (N, C, H, W) -> features (N, F)."""

    def __init__(self, shape: tuple[int, ...], channels: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        before = shape[0]
        for k, after in enumerate(channels):
            kernel = 5 if k == 0 else 3
            layers += [nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2), nn.ReLU()]
            before = after
        super().__init__(*layers, nn.Flatten())
        # Channels last is the layout of the CPU's fast convolutions.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub forgets this keyword
        with torch.no_grad():
            self.features = self(torch.zeros(1, *shape, dtype=torch.uint8)).shape[1]

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Bytes are scaled to 0..1 here, so that buffers and artefacts never hold float images."""
        weight = next(self.parameters())
        scaled = image_NCHW.to(weight.dtype, memory_format=torch.channels_last) * (1.0 / 255.0)
        return super().forward(scaled)


class Trunks(nn.ModuleList):
    """One trunk per camera. `inputs`: the facts of the groups read, by name; `features`: numbers that all give, F."""

    def __init__(self, inputs: Mapping[str, GroupFacts], cameras: Sequence[str], channels: tuple[int, ...]) -> None:
        trunks = [Trunk(inputs[camera].shape, channels) for camera in cameras]
        super().__init__(trunks)
        self.cameras, self.features = tuple(cameras), sum(trunk.features for trunk in trunks)

    def forward(self, obs: Mapping[str, Tensor]) -> list[Tensor]:
        """What each camera sees, (N, F of its trunk)."""
        return [trunk(obs[camera]) for trunk, camera in zip(self, self.cameras, strict=True)]


class CameraPolicy(Policy):
    """Cameras, each with its own trunk; normalised vector groups appended; ReLU layers; A outputs."""

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        cameras: tuple[str, ...],
        vectors: tuple[str, ...],
        channels: tuple[Width, ...],
        hidden: tuple[Width, ...],
    ) -> None:
        super().__init__(action_size)
        self._read(groups, vectors, cameras, rank=3)
        self.trunks = Trunks(self.inputs, cameras, channels)
        self.head = dense([self.trunks.features + self.normaliser.size, *hidden, action_size], nn.ReLU)

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Mean action (N, A)."""
        return self.head(torch.cat([*self.trunks(obs), self.vector(obs)], dim=1))


@POLICIES.register("depth_cnn", modality="depth")
class DepthCNN(CameraPolicy):
    """A depth camera on the tool and the robot's own joints. Any image size from 16 pixels."""

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        cameras: tuple[str, ...] = ("wrist_depth",),
        vectors: tuple[str, ...] = ("proprio",),
        channels: tuple[Width, ...] = (16, 32, 64, 64),
        hidden: tuple[Width, ...] = (256, 256),
    ) -> None:
        super().__init__(groups, action_size, cameras=cameras, vectors=vectors, channels=channels, hidden=hidden)


@POLICIES.register("rgb_cnn", modality="rgb")
class RgbCNN(CameraPolicy):
    """Two colour cameras, one on the tool and one beside the table, and the robot's own joints."""

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        cameras: tuple[str, ...] = ("wrist_rgb", "front_rgb"),
        vectors: tuple[str, ...] = ("proprio",),
        channels: tuple[Width, ...] = (16, 32, 64, 64),
        hidden: tuple[Width, ...] = (256, 256),
    ) -> None:
        super().__init__(groups, action_size, cameras=cameras, vectors=vectors, channels=channels, hidden=hidden)


@POLICIES.register("blind", modality="proprioception")
class Blind(CameraPolicy):
    """The twin without eyes: the same head on the robot's own joints alone. It shows what can be done by feel."""

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        vectors: tuple[str, ...] = ("proprio",),
        hidden: tuple[Width, ...] = (256, 256),
    ) -> None:
        super().__init__(groups, action_size, cameras=(), vectors=vectors, channels=(), hidden=hidden)
