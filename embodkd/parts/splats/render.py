"""Pictures of Gaussians: footprints blended from front to back, by torch alone or by gsplat's kernels."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from embodkd.parts.splats.project import Camera, Footprints, Gaussians, in_picture, project

Renderer = Literal["torch", "gsplat"]
FAINTEST, DENSEST = 1 / 255, 0.99  # of one Gaussian in one pixel: less is not seen, more would hide all behind it


def render(splats: Gaussians, camera: Camera, renderer: Renderer = "torch") -> tuple[Tensor, Tensor]:
    """(picture (3, H, W) before black, footprint centres (G, 2) in pixels), differentiable in all of `splats`.

    "torch" works out all Gaussians that reach into the picture in all pixels. "gsplat" needs that package and a GPU:
    ValueError without; where nothing else differs, so do the last digits.
    """
    if renderer == "gsplat":
        return _by_kernels(splats, camera)
    prints = project(splats, camera)
    seen_K = in_picture(prints, camera).nonzero().squeeze(1)
    here = Footprints(*(each[seen_K] for each in prints))
    return blend(here, splats.opacity[seen_K], splats.colour[seen_K], camera.height, camera.width), prints.mean


def blend(prints: Footprints, opacity_G: Tensor, colour_G3: Tensor, height: int, width: int) -> Tensor:
    """The picture (3, H, W) of footprints on black, the nearest in front; pixel (0, 0)'s centre is (0.5, 0.5)."""
    order_G = prints.depth.detach().argsort(stable=True)
    mean_G2, (xx_G, xy_G, yy_G) = prints.mean[order_G], prints.covariance[order_G].unbind(1)
    x_P, y_P = _pixels(height, width, mean_G2)
    middle_2 = mean_G2.new_tensor([width / 2, height / 2])
    mx_G, my_G = (mean_G2 - middle_2).unbind(1)
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
    alpha_PG = (opacity_G[order_G] * (powers_P6 @ parts_6G).clamp(max=0.0).exp()).clamp(max=DENSEST)
    alpha_PG = alpha_PG.where(alpha_PG >= FAINTEST, 0.0)
    passed_PG = torch.log1p(-alpha_PG)
    left_PG = (passed_PG.cumsum(1) - passed_PG).exp()
    return ((alpha_PG * left_PG) @ colour_G3[order_G]).T.unflatten(1, (height, width))


def _pixels(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels' centres from the middle of the picture, (H * W,) each; near it numbers are small and exact."""
    y, x = (torch.arange(n, device=like.device, dtype=like.dtype) + 0.5 - n / 2 for n in (height, width))
    return x.repeat(height), y.repeat_interleave(width)


def _by_kernels(splats: Gaussians, camera: Camera) -> tuple[Tensor, Tensor]:
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
        near_plane=0.2,
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
