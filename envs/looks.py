"""What episodes look like: light, colours of bodies, textures on them. All of it follows from one key per copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embodkd.envs import draws, textures
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec
from embodkd.envs.randomise import Randomise

SKY = np.array([0.55, 0.65, 0.75])
SUN = np.array([0.3, -0.4, 1.0])  # towards the light
AMBIENT = 0.35  # how much of a colour is seen in the dark; the rest comes in full light
_SEEN = np.array([0.3, 0.6, 0.1])  # how bright red, green and blue are to the eye, about
_TRIES = 16  # colours drawn for a body, of which the first with enough contrast is taken
_PHASES = 10.0  # periods: how far from a body's origin its pattern may begin


@dataclass(frozen=True)
class Patterns:
    """Textures of B bodies in n copies: ``kind_nB`` numbers those of ``Randomise.textures``; a point p of a body, in
    its frame, has the pattern's coordinates ``frame_nB33`` @ p + ``start_nB3``; ``depth_nB`` is how strong it is."""

    kind_nB: np.ndarray
    frame_nB33: np.ndarray
    start_nB3: np.ndarray
    depth_nB: np.ndarray


class Looks:
    """The looks of N copies of a scene whose G geoms have ``colours_G3`` and belong to ``bodies_G``."""

    def __init__(self, how: Randomise, colours_G3: np.ndarray, bodies_G: np.ndarray, count: int) -> None:
        self.how, self._nominal = how, colours_G3
        # bodies are counted by those that are seen, in which all engines agree
        self.bodies, self.owner_G = np.unique(bodies_G, return_inverse=True)
        self.sun_N3 = np.tile(_unit(SUN), (count, 1))
        self.ambient_N = np.full(count, AMBIENT)
        self.glow_N3 = np.ones((count, 3))
        self.sky_N3 = np.tile(SKY, (count, 1))
        self.albedo_NG3 = np.tile(colours_G3, (count, 1, 1))
        shape = count, len(self.bodies)
        self.patterns = Patterns(np.zeros(shape, int), np.zeros((*shape, 3, 3)), np.zeros((*shape, 3)), np.zeros(shape))

    def of(self, chosen: np.ndarray | slice) -> Patterns:
        """The textures of some copies."""
        every = self.patterns
        return Patterns(
            every.kind_nB[chosen], every.frame_nB33[chosen], every.start_nB3[chosen], every.depth_nB[chosen]
        )

    @property
    def shines(self) -> bool:
        """Whether the light has another colour or brightness than white."""
        return not self.how.brightness is self.how.tint is None

    def draw(self, ids: np.ndarray, keys: np.ndarray) -> None:
        """Draw the looks of copies ``ids`` (n,) from their ``keys`` (n,)."""
        how = self.how
        if how.light_azimuth or how.light_height:
            turn = how.drawn(keys, "light_azimuth", 1)[:, 0] if how.light_azimuth else np.arctan2(SUN[1], SUN[0])
            rise = how.drawn(keys, "light_height", 1)[:, 0] if how.light_height else np.arcsin(_unit(SUN)[2])
            parts = np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)
            self.sun_N3[ids] = np.stack(np.broadcast_arrays(*parts), axis=-1)
        if how.ambient:
            self.ambient_N[ids] = how.drawn(keys, "ambient", 1)[:, 0]
        if self.shines:
            bright = how.drawn(keys, "brightness", 1) if how.brightness else np.ones((len(keys), 1))
            tint = how.drawn(keys, "tint", 1) if how.tint else np.zeros((len(keys), 1))
            self.glow_N3[ids] = bright * (1 + tint * [1.0, 0.0, -1.0])
        if how.coloured:
            self._colour(ids, keys)
        if how.textures:
            self._pattern(ids, keys)

    def _colour(self, ids: np.ndarray, keys: np.ndarray) -> None:
        count, how = len(self.bodies), self.how
        mean_B3 = np.stack([self._nominal[self.owner_G == body].mean(axis=0) for body in range(count)])
        own_B3 = hsv_from_rgb(np.concatenate([mean_B3, SKY[None]]))
        tries = np.empty((len(keys), _TRIES, count + 1, 3))
        tries[:] = own_B3
        for part, name in enumerate(("hue", "saturation", "value")):
            if getattr(how, name) is not None:
                tries[..., part] = how.drawn(keys, name, _TRIES * (count + 1)).reshape(tries.shape[:-1])
        rgb = rgb_from_hsv(tries)
        table = rgb[:, :1, :1]
        apart = np.sqrt((rgb - table) ** 2 @ _SEEN)
        # the first that is far enough, or else the farthest
        clear = apart >= how.contrast
        best = np.where(clear.any(axis=1), clear.argmax(axis=1), apart.argmax(axis=1))
        best[:, 0] = 0
        chosen = np.take_along_axis(rgb, best[:, None, :, None], axis=1)[:, 0]
        self.sky_N3[ids] = chosen[:, -1]
        shift = chosen[:, :-1] - mean_B3
        self.albedo_NG3[ids] = np.clip(self._nominal + shift[:, self.owner_G], 0.02, 1.0)

    def _pattern(self, ids: np.ndarray, keys: np.ndarray) -> None:
        count, how = len(self.bodies), self.how
        kind = draws.uniform(keys, "look/textures", count, high=len(how.textures))
        self.patterns.kind_nB[ids] = kind.astype(int)
        turn = 2.0 * draws.normal(keys, "look/texture_turn", 3 * count).reshape(-1, 3)
        frame = matrix_from_quat(quat_from_rotvec(turn)).reshape(-1, count, 3, 3)
        self.patterns.frame_nB33[ids] = frame / how.drawn(keys, "texture_size", count)[..., None, None]
        start = draws.uniform(keys, "look/texture_start", 3 * count, low=-_PHASES, high=_PHASES)
        self.patterns.start_nB3[ids] = start.reshape(-1, count, 3)
        self.patterns.depth_nB[ids] = how.drawn(keys, "texture_depth", count)


def shades(
    how: Randomise,
    patterns: Patterns,
    owner: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    eye: tuple[np.ndarray, np.ndarray],
    rays_R3: np.ndarray,
    depth_nR: np.ndarray,
) -> np.ndarray:
    """Factors of the colours that textures make at each pixel, (n, R).

    owner: the body seen at each pixel, (n, R), -1 for none; places: where the bodies are, (n, B, 3) and (n, B, 3, 3);
    eye: where the cameras are, (n, 3) and (n, 3, 3); rays: their directions at unit depth in the cameras' frames.
    """
    (place, turn), (origin, rotation) = places, eye
    inwards = patterns.frame_nB33 @ np.swapaxes(turn, -1, -2)
    frame = inwards @ rotation[:, None]
    start = (inwards @ (origin[:, None] - place)[..., None])[..., 0] + patterns.start_nB3
    count = place.shape[1]
    kinds = np.where(owner >= 0, np.take_along_axis(patterns.kind_nB, owner, axis=1), -1).ravel()
    body = (np.arange(len(owner))[:, None] * count + owner).ravel()
    ray_3R = np.ascontiguousarray(rays_R3.T)
    frame, start = frame.reshape(-1, 9).T.copy(), start.reshape(-1, 3).T.copy()
    found = np.ones(depth_nR.size)
    depth, strength = depth_nR.ravel(), patterns.depth_nB.ravel()
    for number, kind in enumerate(how.textures):
        here = np.flatnonzero(kinds == number)
        if kind == "plain" or not len(here):
            continue
        whose, pixel, far = body[here], here % ray_3R.shape[1], depth[here]
        x, y, z = (ray[pixel] * far for ray in ray_3R)
        points = np.stack([
            frame[3 * k][whose] * x + frame[3 * k + 1][whose] * y + frame[3 * k + 2][whose] * z + start[k][whose]
            for k in range(3)
        ])  # fmt: skip
        found[here] = 1.0 + strength[whose] * textures.shade(kind, points)
    return found.reshape(depth_nR.shape)


def hsv_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """Hue (a turn is 1), saturation and value of colours (..., 3) in 0..1; those of grey have hue 0."""
    value, least = rgb.max(axis=-1), rgb.min(axis=-1)
    span = value - least
    safe = np.where(span > 0, span, 1.0)
    red, green, blue = np.moveaxis((value[..., None] - rgb) / safe[..., None], -1, 0)
    largest = rgb.argmax(axis=-1)
    sixth = np.choose(largest, [blue - green, 2.0 + red - blue, 4.0 + green - red])
    hue = np.where(span > 0, sixth / 6.0 % 1.0, 0.0)
    return np.stack([hue, span / np.where(value > 0, value, 1.0), value], axis=-1)


def rgb_from_hsv(hsv: np.ndarray) -> np.ndarray:
    """The way back."""
    hue, saturation, value = np.moveaxis(hsv, -1, 0)
    sixth = (hue[..., None] * 6.0 + np.array([5.0, 3.0, 1.0])) % 6.0
    dip = np.clip(np.minimum(sixth, 4.0 - sixth), 0.0, 1.0)
    return value[..., None] * (1.0 - saturation[..., None] * dip)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)
