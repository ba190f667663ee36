"""Students that see: convolutions per camera, the robot's own joints appended, a small head. And their blind twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from embodkd.policies.base import POLICIES, Policy, dense
from torch import Tensor, nn


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


class CameraPolicy(Policy):
    """Cameras, each with its own trunk; normalised vector groups appended; ReLU layers; A outputs."""

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        cameras: tuple[str, ...],
        vectors: tuple[str, ...],
        channels: tuple[int, ...],
        hidden: tuple[int, ...],
    ) -> None:
        super().__init__(action_size)
        self._read(groups, vectors, cameras, rank=3)
        self.cameras = tuple(cameras)
        trunks = [Trunk(self.inputs[c].shape, channels) for c in self.cameras]
        self.trunks = nn.ModuleList(trunks)
        width = sum(t.features for t in trunks) + self.normaliser.size
        self.head = dense([width, *hidden, action_size], nn.ReLU)

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Mean action (N, A)."""
        seen = [trunk(obs[camera]) for trunk, camera in zip(self.trunks, self.cameras, strict=True)]
        return self.head(torch.cat([*seen, self.vector(obs)], dim=1))


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
        channels: tuple[int, ...] = (16, 32, 64, 64),
        hidden: tuple[int, ...] = (256, 256),
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
        channels: tuple[int, ...] = (16, 32, 64, 64),
        hidden: tuple[int, ...] = (256, 256),
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
        hidden: tuple[int, ...] = (256, 256),
    ) -> None:
        super().__init__(groups, action_size, cameras=(), vectors=vectors, channels=(), hidden=hidden)
