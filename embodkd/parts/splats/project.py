"""3-D Gaussians seen by a camera, as 2-D ones: the affine approximation of perspective (EWA splatting)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

NEAR = 0.2  # metres
SPREAD = 0.3  # squared pixels that every footprint is widened by, so that none falls between two pixels
FAINTEST = 1 / 255  # of a Gaussian in a pixel: less is not drawn
REACH = math.sqrt(-2.0 * math.log(FAINTEST))  # standard deviations; beyond, not even a full one is drawn
_EDGE = 1.3  # how far outside the picture the approximation is still taken at a Gaussian's own place


class Gaussians(NamedTuple):
    """mean (G, 3) metres; scale (G, 3), standard deviations along its own axes, metres; rotation (G, 4), quaternion
    w, x, y, z of length 1; opacity (G,) in [0, 1]; colour (G, 3)."""

    mean: Tensor
    scale: Tensor
    rotation: Tensor
    opacity: Tensor
    colour: Tensor


class Footprints(NamedTuple):
    """mean (G, 2) pixels; covariance (G, 3), its xx, xy and yy, squared pixels; depth (G,) metres along the view."""

    mean: Tensor
    covariance: Tensor
    depth: Tensor


class Pinhole(NamedTuple):
    """pose (4, 4), camera to world; intrinsics (4,): fx, fy, cx, cy; height and width in pixels."""

    pose: Tensor
    intrinsics: Tensor
    height: int
    width: int


def rotations(quaternion_G4: Tensor) -> Tensor:
    """The matrices (G, 3, 3) of unit quaternions w, x, y, z."""
    w, x, y, z = quaternion_G4.unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def seen_from(points_P3: Tensor, pose_44: Tensor) -> Tensor:
    """World points in the camera's own frame, (P, 3)."""
    return (points_P3 - pose_44[:3, 3]) @ pose_44[:3, :3]


def project(splats: Gaussians, camera: Pinhole) -> Footprints:
    """The footprints of Gaussians; those that lie behind NEAR get one too, which nobody should draw."""
    fx, fy, cx, cy = camera.intrinsics.unbind()
    own_G3 = seen_from(splats.mean, camera.pose)
    depth_G = own_G3[:, 2]
    safe_G = depth_G.clamp(min=NEAR)
    x_G, y_G = own_G3[:, 0] / safe_G, own_G3[:, 1] / safe_G
    # far outside the picture the derivative would blow footprints up over all of it
    across, down = _EDGE * camera.width / 2 / fx, _EDGE * camera.height / 2 / fy
    near_x_G, near_y_G = x_G.clamp(-across, across), y_G.clamp(-down, down)
    zero_G = torch.zeros_like(safe_G)
    jacobian_G23 = torch.stack(
        [fx / safe_G, zero_G, -fx * near_x_G / safe_G, zero_G, fy / safe_G, -fy * near_y_G / safe_G], -1
    ).unflatten(-1, (2, 3))
    # the root of the covariance in the camera's frame, seen through the derivative
    root_G33 = camera.pose[:3, :3].T @ (rotations(splats.rotation) * splats.scale[:, None, :])
    flat_G23 = jacobian_G23 @ root_G33
    covariance_G22 = flat_G23 @ flat_G23.transpose(1, 2)
    return Footprints(
        torch.stack([fx * x_G + cx, fy * y_G + cy], -1),
        torch.stack([covariance_G22[:, 0, 0] + SPREAD, covariance_G22[:, 0, 1], covariance_G22[:, 1, 1] + SPREAD], -1),
        depth_G,
    )


def touching(prints: Footprints, low: tuple[float, float], high: tuple[float, float]) -> Tensor:
    """Which of them lie before the camera and may be drawn between these corners, x and y in pixels, bool (G,)."""
    reach_G2 = REACH * prints.covariance[:, [0, 2]].detach().sqrt()
    mean_G2 = prints.mean.detach()
    inside_G2 = (mean_G2 + reach_G2 > mean_G2.new_tensor(low)) & (mean_G2 - reach_G2 < mean_G2.new_tensor(high))
    return inside_G2.all(1) & (prints.depth.detach() > NEAR)


def before(points_P3: Tensor, camera: Pinhole, margin: float = _EDGE) -> Tensor:
    """Which points lie before the camera and within `margin` of its picture's half sides, bool (P,)."""
    fx, fy, _, _ = camera.intrinsics.unbind()
    own_P3 = seen_from(points_P3, camera.pose)
    deep_P = own_P3[:, 2]
    wide_P = own_P3[:, 0].abs() <= margin * camera.width / 2 / fx * deep_P
    high_P = own_P3[:, 1].abs() <= margin * camera.height / 2 / fy * deep_P
    return (deep_P > NEAR) & wide_P & high_P
