"""Pictures of Gaussians: footprints blended from front to back, by torch alone or by gsplat's kernels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from embodkd.parts.splats.project import FAINTEST, NEAR, Footprints, Gaussians, Pinhole, project, touching

Renderer = Literal["torch", "gsplat"]
DENSEST = 0.99  # of one Gaussian in one pixel: more would hide all behind it
TILE = 32  # the longest side of a part of a picture that is worked out at once, pixels


def render(splats: Gaussians, camera: Pinhole, renderer: Renderer = "torch") -> tuple[Tensor, Tensor]:
    """(picture (3, H, W) before black, footprint centres (G, 2) in pixels), differentiable in all of `splats`.

    "torch" works out every Gaussian in all pixels of each tile that it reaches into. "gsplat" needs that package and a
    GPU, ValueError without, and differs in the last digits and where Gaussians end.
    """
    if renderer == "gsplat":
        return _by_kernels(splats, camera)
    prints = project(splats, camera)
    order_K = touching(prints, (0.0, 0.0), (camera.width, camera.height)).nonzero().squeeze(1)
    order_K = order_K[prints.depth.detach()[order_K].argsort(stable=True)]
    here = Footprints(*(each[order_K] for each in prints))
    return blend(here, splats.opacity[order_K], splats.colour[order_K], camera.height, camera.width), prints.mean


def blend(
    prints: Footprints, opacity_G: Tensor, colour_G3: Tensor, height: int, width: int, tile: int = TILE
) -> Tensor:
    """The picture (3, H, W) on black of footprints from front to back; pixel (0, 0)'s centre is at (0.5, 0.5).

    It is the same for any `tile`.
    """
    bands = []
    for top, bottom in _cut(height, tile):
        row = []
        for left, right in _cut(width, tile):
            here_K = touching(prints, (left, top), (right, bottom)).nonzero().squeeze(1)
            own = Footprints(*(each[here_K] for each in prints))
            row.append(_blend(own, opacity_G[here_K], colour_G3[here_K], (left, right), (top, bottom)))
        bands.append(torch.cat(row, 2))
    return torch.cat(bands, 1)


def _cut(length: int, tile: int) -> Iterator[tuple[int, int]]:
    count = -(-length // tile)
    yield from pairwise(length * k // count for k in range(count + 1))


def _blend(
    prints: Footprints, opacity_G: Tensor, colour_G3: Tensor, across: tuple[int, int], down: tuple[int, int]
) -> Tensor:
    """One tile."""
    mean_G2, (xx_G, xy_G, yy_G) = prints.mean, prints.covariance.unbind(1)
    # from the tile's middle: near it numbers are small and exact
    middle = sum(across) / 2, sum(down) / 2
    x_W, y_H = (
        torch.arange(*ends, device=mean_G2.device, dtype=mean_G2.dtype) + 0.5 - at
        for ends, at in zip((across, down), middle, strict=True)
    )
    x_P, y_P = x_W.repeat(len(y_H)), y_H.repeat_interleave(len(x_W))
    mx_G, my_G = (mean_G2 - mean_G2.new_tensor(middle)).unbind(1)
    determinant_G = xx_G * yy_G - xy_G * xy_G
    a_G, b_G, c_G = yy_G / determinant_G, -xy_G / determinant_G, xx_G / determinant_G
    # -1/2 (a dx^2 + 2 b dx dy + c dy^2) as one product of matrices: the pixels' powers times what belongs to each
    powers_P6 = torch.stack([x_P * x_P, x_P * y_P, y_P * y_P, x_P, y_P, torch.ones_like(x_P)], 1)
    parts_6G = torch.stack(
        [
            -0.5 * a_G,
            -b_G,
            -0.5 * c_G,
            a_G * mx_G + b_G * my_G,
            c_G * my_G + b_G * mx_G,
            -0.5 * (a_G * mx_G * mx_G + c_G * my_G * my_G) - b_G * mx_G * my_G,
        ]
    )
    alpha_PG = (opacity_G * (powers_P6 @ parts_6G).clamp(max=0.0).exp()).clamp(max=DENSEST)
    alpha_PG = alpha_PG.where(alpha_PG >= FAINTEST, 0.0)
    passed_PG = torch.log1p(-alpha_PG)
    left_PG = (passed_PG.cumsum(1) - passed_PG).exp()
    return ((alpha_PG * left_PG) @ colour_G3).T.unflatten(1, (len(y_H), len(x_W)))


def _by_kernels(splats: Gaussians, camera: Pinhole) -> tuple[Tensor, Tensor]:
    rasterization = kernels()
    matrix_33 = camera.intrinsics.new_zeros(3, 3)
    matrix_33[0, 0], matrix_33[1, 1], matrix_33[0, 2], matrix_33[1, 2] = camera.intrinsics
    matrix_33[2, 2] = 1.0
    picture_1HW3, _, facts = rasterization(
        splats.mean,
        splats.rotation,
        splats.scale,
        splats.opacity,
        splats.colour,
        torch.linalg.inv(camera.pose)[None],
        matrix_33[None],
        camera.width,
        camera.height,
        near_plane=NEAR,
        packed=False,
    )
    return picture_1HW3[0].permute(2, 0, 1), facts["means2d"].reshape(-1, 2)


def kernels() -> Any:
    """gsplat's rasteriser; ValueError that says what is missing."""
    if not torch.cuda.is_available():
        raise ValueError("renderer: gsplat draws on a GPU, and torch sees none; use renderer=torch")
    try:
        from gsplat import rasterization
    except ImportError as error:
        raise ValueError("renderer: gsplat is missing: pip install gsplat, or use renderer=torch") from error
    return rasterization
