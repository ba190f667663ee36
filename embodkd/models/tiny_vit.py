"""TinyViT (Wu et al., ECCV 2022, arXiv:2207.10666): convolutions first, then attention in windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodkd.core.config.ranges import Depth, Part, Width
from embodkd.models.base import MODELS, Classifier, image_shape


@MODELS.register("tiny_vit", title="TinyViT: convolutions, then attention in windows")
class TinyVisionTransformer(Classifier):
    """A stem that quarters the image, a stage of inverted bottlenecks, and stages of attention within windows.

    widths, depths, heads, windows: of each stage; the first one has no attention, its head and window do not count.
    Each later stage halves the image first. A window that is larger than a stage's map is the whole map, otherwise it
    must divide it. mlp_ratio: hidden width of the MLPs. drop_path: how often a block's change of an item is left out.
    Published sizes: depths 2-2-6-2, windows 7-7-14-7, widths 64-128-160-320 with heads 2-4-5-10 (5M), 64-128-256-448
    with 2-4-8-14 (11M), 96-192-384-576 with 3-6-12-18 (21M). The defaults are for small images.
    The i-th stage's output (N, D, H, W) is tapped as `stages.{i}`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        widths: tuple[Width, ...] = (24, 48, 96),
        depths: tuple[Depth, ...] = (1, 1, 2),
        heads: tuple[Width, ...] = (1, 2, 4),
        windows: tuple[Width, ...] = (8, 8, 8),
        mlp_ratio: Width = 4,
        drop_path: Part = 0.0,
    ) -> None:
        super().__init__(shape, classes)
        channels, height, width = image_shape(shape, "tiny_vit")
        if not widths or len({len(each) for each in (widths, depths, heads, windows)}) != 1:
            raise ValueError("model tiny_vit: widths, depths, heads and windows need one entry for each stage")
        first = widths[0]
        self.stem = nn.Sequential(
            _conv(channels, first // 2 or 1, 3, 2), nn.GELU(), _conv(first // 2 or 1, first, 3, 2)
        )
        side = (-(-height // 4), -(-width // 4))
        self.stages = nn.ModuleList()
        for k, (own, depth) in enumerate(zip(widths, depths, strict=True)):
            stage = nn.Sequential()
            if k:
                stage.append(_merging(widths[k - 1], own))
                side = (-(-side[0] // 2), -(-side[1] // 2))
                window = (min(windows[k], side[0]), min(windows[k], side[1]))
                if side[0] % window[0] or side[1] % window[1] or own % heads[k]:
                    raise ValueError(
                        f"model tiny_vit: stage {k} has a map of {side[0]} x {side[1]} and {own} channels, which "
                        f"windows of {windows[k]} and {heads[k]} heads must divide"
                    )
            for _ in range(depth):
                stage.append(_Block(own, heads[k], window, mlp_ratio, drop_path) if k else _Bottleneck(own, drop_path))
            self.stages.append(stage)
        self.norm = nn.LayerNorm(widths[-1])
        self.classifier = nn.Linear(widths[-1], classes)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """{"embedding": (N, D), "map": (N, D, H, W)}; the embedding is the map's mean, normalised."""
        map_NDHW = self.stem(x)
        for stage in self.stages:
            map_NDHW = stage(map_NDHW)
        return {"embedding": self.norm(map_NDHW.mean((2, 3))), "map": map_NDHW}


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    padding = kernel // 2
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _merging(inputs: int, outputs: int) -> nn.Sequential:
    """Half the resolution by convolutions."""
    deep = _conv(outputs, outputs, 3, 2, outputs)
    return nn.Sequential(_conv(inputs, outputs, 1), nn.GELU(), deep, nn.GELU(), _conv(outputs, outputs, 1))


class _DropPath(nn.Dropout):
    """Dropout of whole items, (N, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """What is left, larger by as much as is left out."""
        return x * super().forward(torch.ones_like(x[:, :1, :1, :1])) if self.training and self.p else x


class _Bottleneck(nn.Module):
    """MBConv (Sandler et al. 2018): four times as wide inside, GELU after the sum."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        inner = 4 * width
        wide, deep = _conv(width, inner, 1), _conv(inner, inner, 3, groups=inner)
        self.change = nn.Sequential(wide, nn.GELU(), deep, nn.GELU(), _conv(inner, width, 1))
        self.drop = _DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, H, W), the same."""
        return functional.gelu(x + self.drop(self.change(x)))


class _Block(nn.Module):
    """Attention within windows, a depthwise convolution across them, an MLP."""

    def __init__(self, width: int, heads: int, window: tuple[int, int], mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, window)
        self.across = _conv(width, width, 3, groups=width)
        inner = mlp_ratio * width
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.drop = _DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, H, W), the same."""
        x = self.across(x + self.drop(self.attention(x)))
        return x + self.drop(self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class _Attention(nn.Module):
    """Multi-head attention within windows; each head adds a learned number for each absolute offset."""

    offset: Tensor

    def __init__(self, width: int, heads: int, window: tuple[int, int]) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        rows, columns = window
        place_T2 = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        apart_TT2 = (place_T2[:, None] - place_T2).abs()
        self.register_buffer("offset", apart_TT2[..., 0] * columns + apart_TT2[..., 1], persistent=False)
        self.bias = nn.Parameter(torch.zeros(heads, rows * columns))

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, H, W), the same."""
        count, width, height, side = x.shape
        rows, columns = self.window
        down, along = height // rows, side // columns
        cut = x.reshape(count, width, down, rows, along, columns).permute(0, 2, 4, 3, 5, 1)
        tokens_WTD = self.norm(cut.reshape(-1, rows * columns, width))
        split = (-1, rows * columns, 3, self.heads, width // self.heads)
        q, k, v = self.qkv(tokens_WTD).reshape(split).permute(2, 0, 3, 1, 4)
        bias_HTT = self.bias[:, self.offset].to(q.dtype)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias_HTT)
        found = self.out(mixed.transpose(1, 2).reshape(-1, rows * columns, width))
        laid = found.reshape(count, down, along, rows, columns, width).permute(0, 5, 1, 3, 2, 4)
        return laid.reshape(count, width, height, side)
