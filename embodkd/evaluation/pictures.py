"""Pictures for people: what a policy's cameras show, enlarged and coloured, and text on a frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from embodkd.envs.spec import Group

INK, PAPER, FAINT = (236, 239, 244), (17, 20, 26), (139, 147, 161)
GOOD, BAD, WAITING = (46, 170, 110), (214, 76, 76), (96, 104, 120)
# Near is bright and warm, far is dark: six anchors of the depth scale, from 0 to 255.
_DEPTH_ANCHORS = np.array(
    [(255, 244, 214), (250, 176, 92), (219, 88, 86), (133, 50, 116), (58, 36, 96), (12, 14, 34)], float
)

# Axes of a view from a corner above, as columns: to the right, up, towards who looks.
_CORNER = np.stack(
    [np.array([-1, 1, 0]) / 2**0.5, np.array([-1, -1, 2]) / 6**0.5, np.array([1, 1, 1]) / 3**0.5], axis=1
)


def eye_picture(group: Group, value: np.ndarray, height: int) -> np.ndarray:
    """One observation of a camera or point group as uint8 (height, width, 3), pixels kept square and sharp."""
    if not is_eye(group):
        raise ValueError(f"group {group.name!r} of shape {group.shape} is not something to look at")
    if not group.is_image:
        return _points_picture(value, height)
    if "segmentation" in group.name:
        picture = _label_colours(value[0])
    else:
        picture = depth_colours(value[0]) if value.shape[0] == 1 else np.moveaxis(value[:3], 0, -1)
    return _enlarge(picture, height)


def is_eye(group: Group) -> bool:
    """Whether a group can be shown as a picture: an image, or a cloud of points (P, 3)."""
    return group.is_image or (len(group.shape) == 2 and group.shape[1] == 3)


def depth_colours(depth: np.ndarray) -> np.ndarray:
    """Bytes (H, W), 0 near to 255 far, as colours (H, W, 3)."""
    at = np.linspace(0, 255, len(_DEPTH_ANCHORS))
    table = np.stack([np.interp(np.arange(256), at, _DEPTH_ANCHORS[:, c]) for c in range(3)], axis=1)
    return table.astype(np.uint8)[depth]


def write_lines(frame: np.ndarray, lines: Sequence[tuple[int, int, str, tuple[int, int, int]]], size: int = 15) -> None:
    """Write texts (x, y of the left middle, text, colour) onto ``frame`` (H, W, 3), in place."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    for x, y, text, colour in lines:
        draw.text((x, y), text, fill=colour, font=_font(size), anchor="lm")
    frame[:] = np.asarray(image)


def badge(frame: np.ndarray, x: int, y: int, text: str, colour: tuple[int, int, int], size: int = 17) -> None:
    """A filled pill with text, its left end at ``x`` and its middle at ``y``, in place."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    width = int(draw.textlength(text, font=_font(size)))
    half = size * 3 // 4 + 1
    draw.rounded_rectangle((x, y - half, x + width + 2 * half, y + half), radius=half, fill=colour)
    draw.text((x + half, y), text, fill=(255, 255, 255), font=_font(size), anchor="lm")
    frame[:] = np.asarray(image)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _enlarge(picture: np.ndarray, height: int) -> np.ndarray:
    """Nearest neighbour to ``height`` rows: the pixels that the policy gets, not smoother ones."""
    rows = np.arange(height) * picture.shape[0] // height
    width = round(height * picture.shape[1] / picture.shape[0])
    columns = np.arange(width) * picture.shape[1] // width
    return picture[rows][:, columns]


def _label_colours(labels: np.ndarray) -> np.ndarray:
    # Golden-ratio steps round the colour wheel keep neighbouring ids apart.
    hue = (labels.astype(float) * 0.618034)[..., None] % 1.0 + np.array([0.0, 1 / 3, 2 / 3])
    colours = 90 + 140 * (0.5 + 0.5 * np.cos(2 * np.pi * hue))
    return np.where(labels[..., None] > 0, colours, 25).astype(np.uint8)


def _points_picture(points: np.ndarray, height: int) -> np.ndarray:
    """Points (P, 3) as dots, the nearest on top and the brightest.

    All before a camera, which looks along -z: as it sees them. Else, as those of a hand's frame lie all around it: from
    a corner above, without perspective.
    """
    canvas = np.empty((height, height, 3), np.uint8)
    canvas[:] = PAPER
    if (points[:, 2] < -1e-6).all():
        depth = -points[:, 2]
        seen = points[:, :2] / depth[:, None]
    else:
        turned = (points - 0.5 * (points.min(axis=0) + points.max(axis=0))) @ _CORNER
        seen, depth = turned[:, :2], -turned[:, 2]
    reach = max(float(np.abs(seen).max()), 1e-6)
    pixel = ((seen * [1, -1] / reach * 0.48 + 0.5) * (height - 1)).astype(int)
    span = max(float(np.ptp(depth)), 1e-6)
    colours = depth_colours(((depth - depth.min()) / span * 210).astype(np.uint8))
    radius = max(1, height // 110)
    for index in np.argsort(-depth):
        x, y = pixel[index]
        canvas[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1] = colours[index]
    return canvas
