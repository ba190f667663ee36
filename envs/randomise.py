"""Domain randomisation as plain numbers: how far each property of an episode may stray from the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import numpy as np
from embodkd.envs import draws
from embodkd.envs.textures import Texture

from embodkd.core.config.ranges import NotNegative, Part, Positive, Share, Within, rising
from embodkd.core.config.schema import Keys

Reach = tuple[NotNegative, NotNegative]
Angles = tuple[Annotated[float, Within(-7.0, 7.0)], Annotated[float, Within(-7.0, 7.0)]]
Heights = tuple[Annotated[float, Within(0.0, 1.58)], Annotated[float, Within(0.0, 1.58)]]
Shares = tuple[Share, Share]
Tints = tuple[Annotated[float, Within(-0.5, 0.5)], Annotated[float, Within(-0.5, 0.5)]]
_RANGES = (
    ("camera_position", "camera_rotation", "light_azimuth", "light_height", "ambient", "brightness", "tint")
    + ("hue", "saturation", "value", "texture_size", "texture_depth")
)  # fmt: skip


@dataclass(frozen=True)
class Randomise:
    """Zeros, None and nothing (the default) leave the model alone.

    Physics. ``mass``, ``friction`` and ``gains`` are the half-width of a factor drawn uniformly about 1; ``latency``
    the largest delay of an action in control steps.

    Looks, each drawn uniformly in its range, None for the model's own. ``camera_position`` (m) and ``camera_rotation``
    (rad): how far each camera is from where it should be, in any direction. ``light_azimuth`` (rad, 0 along x) and
    ``light_height`` (rad above the horizon): where the light is. ``ambient``: the share of it that comes from
    everywhere. ``brightness``: a factor of it all. ``tint``: how much more red and less blue it is.
    ``hue`` (a turn is 1), ``saturation`` and ``value``: the mean colour of each body and of the sky; the shapes of a
    body are shifted together, and its colour is at least ``contrast`` (distance of RGB, 0..1, green counts most) from
    that of the first body, the table, as far as a few draws can find one. ``textures``: the kinds among which each
    body's is drawn (see ``textures``); ``texture_size`` (m): their period; ``texture_depth``: how much darker and
    brighter they make it.
    ``per_frame``: looks are drawn anew for every control step, and not once for an episode.
    """

    mass: Part = 0.0
    friction: Part = 0.0
    gains: Part = 0.0
    latency: Annotated[int, Within(0, 1000)] = 0
    camera_position: Reach | None = None
    camera_rotation: Reach | None = None
    light_azimuth: Angles | None = None
    light_height: Heights | None = None
    ambient: Shares | None = None
    brightness: Reach | None = None
    tint: Tints | None = None
    hue: Shares | None = None
    saturation: Shares | None = None
    value: Shares | None = None
    contrast: Share = 0.0
    textures: tuple[Texture, ...] = ()
    texture_size: tuple[Positive, Positive] | None = None
    texture_depth: Shares | None = None
    per_frame: bool = False

    def __post_init__(self) -> None:
        for name in ("mass", "friction", "gains"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"randomise.{name} must be in [0, 1): a factor is drawn from 1 - {name} to 1 + {name}")
        for name in _RANGES:
            if (span := getattr(self, name)) is not None:
                rising(span, f"randomise.{name}")
        unknown = set(self.textures) - set(get_args(Texture))
        if unknown:
            raise ValueError(f"randomise.textures: no kind {sorted(unknown)}; there are {', '.join(get_args(Texture))}")
        if self.textures and (self.texture_size is None or self.texture_depth is None):
            raise ValueError("randomise.textures: give texture_size and texture_depth too, a range each")
        if self.contrast and not self.coloured:
            raise ValueError("randomise.contrast: is of drawn colours; give a range of hue, saturation or value")

    @property
    def varied(self) -> bool:
        """Whether anything that is seen is drawn."""
        return bool(self.textures) or any(getattr(self, name) is not None for name in _RANGES)

    @property
    def coloured(self) -> bool:
        """Whether bodies get colours of their own."""
        return not self.hue is self.saturation is self.value is None

    def delays(self, seeds: np.ndarray) -> np.ndarray:
        """Action delay of each episode in control steps, (n,) integers in 0..latency."""
        if not self.latency:
            return np.zeros(len(seeds), np.int64)
        return np.floor(draws.uniform(seeds, "latency", 1, high=self.latency + 1.0)[:, 0]).astype(np.int64)

    def factor(self, seeds: np.ndarray, name: str, count: int) -> np.ndarray:
        """Factors about 1 of the property ``name`` ("mass", "friction" or "gains"), (n, count)."""
        width = getattr(self, name)
        return draws.uniform(seeds, name, count, low=1 - width, high=1 + width)

    def drawn(self, seeds: np.ndarray, name: str, count: int, stream: str = "") -> np.ndarray:
        """Numbers in the range ``name``, which must be there, (n, count)."""
        low, high = getattr(self, name)
        return draws.uniform(seeds, stream or f"look/{name}", count, low=low, high=high)


Randomised = Annotated[Mapping[str, Any] | None, Keys("embodkd.envs.randomise:Randomise")]
"""A task's keyword: keys of Randomise, or nothing."""
