"""Simple shapes as a pinhole camera sees them, by a few array expressions instead of a ray per pixel.

Along the ray of a pixel, given with unit depth, let w be one over the depth.  A plane is met where w is affine in the
pixel's coordinates, a quadric where w solves a quadratic equation whose coefficients are.  A ray is within a convex
shape between the least w of what it enters by and the greatest of what it leaves by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from embodkd.envs.sim.pixels import BOX, CAPSULE, CYLINDER, PLANE, SPHERE, Grid, Lines, Placed, Window

SIMPLE = frozenset({PLANE, SPHERE, CAPSULE, CYLINDER, BOX})
_LEAST = 1e-12  # m: a camera in a surface is taken to be beside it
_INSIDE = 1e12  # w where a ray enters what it starts in


@dataclass(frozen=True)
class Planes:
    """F planes of each of n geoms: rays meet them at `w`, the product of `vector` (F, n, 3) with the ray.

    matter: which of them count, (F, n). Outwards is along their vectors if the planes are `behind`, else against them.
    """

    w: Lines
    vector: np.ndarray
    matter: np.ndarray
    behind: bool

    def normal(self, index: int, some: slice) -> np.ndarray:
        """Outward unit vectors of one plane of some geoms, (n, 3)."""
        vector = self.vector[index, some]
        length = np.sqrt((vector * vector).sum(axis=-1, keepdims=True))
        return (1.0 if self.behind else -1.0) * vector / np.maximum(length, np.finfo(float).tiny)

    def first(self, of: np.ufunc, found: np.ndarray | None, window: Window, which: np.ndarray) -> np.ndarray | None:
        """The least or greatest w of some of the planes and of `found`; None of none."""
        for index in np.flatnonzero(which).tolist():
            value = self.w.within(window, index)
            found = value if found is None else of(found, value, out=value)
        return found


@dataclass(frozen=True)
class Quadric:
    """a w^2 - 2 b w + c = 0 for a (n, 1, 1) and the sum of squares c."""

    a: np.ndarray
    b: Lines
    c: list[Lines]

    def roots(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """w where each ray enters and where it leaves; it enters at -infinity where it misses."""
        a = self.a[window[0]]
        b = self.b.within(window)
        root = b * b
        for lines in self.c:
            c = lines.within(window)
            c *= c
            c *= a
            root -= c
        missed = root < 0
        np.sqrt(np.maximum(root, 0, out=root), out=root)
        enter = b + root
        enter /= a
        if (a < 0).any():
            enter[a[:, 0, 0] < 0] = _INSIDE
        np.copyto(enter, -_INSIDE, where=missed)
        b -= root
        b /= a
        return enter, b


@dataclass(frozen=True)
class ConvexPart:
    """A convex part of geoms: what rays enter and leave it by, and which geoms (n,) the camera is in."""

    enter: Planes | None
    leave: Planes | None
    quadric: Quadric | None
    inside: np.ndarray

    def span(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """w where each ray enters and where it leaves, (n, rows, columns): before it enters if it misses.

        None if every ray of the window enters.
        """
        some = window[0]
        enter, leave = (None, None) if self.quadric is None else self.quadric.roots(window)
        if self.enter is not None and self.leave is not None:
            matter = np.logical_or.reduce(self.leave.matter[:, some], axis=1)
            if self.quadric is None:
                # planes that rays leave by after they entered, wherever that is in the window, decide nothing
                latest = np.where(self.inside[some], -np.inf, self.enter.w.corners(window).min(axis=(0, 2)))
                matter &= (self.leave.w.corners(window).max(axis=2) > latest).any(axis=1)
            facing = np.logical_or.reduce(self.enter.matter[:, some], axis=1)
            enter = self.enter.first(np.minimum, enter, window, facing)
            leave = self.leave.first(np.maximum, leave, window, matter)
        if enter is None:
            assert leave is not None
            enter = np.full_like(leave, _INSIDE)
        return enter, leave


class Solids:
    """n geoms of one kind: convex, or a convex union of convex parts."""

    def __init__(self, kind: int, placed: Placed, grid: Grid) -> None:
        self.kind, self.placed, self.grid = kind, placed, grid
        size = placed.size_n3
        if kind == PLANE:
            self.parts = [_front(placed, grid)]
        elif kind == BOX:
            self.parts = [_between(placed, grid, [0, 1, 2], size)]
        elif kind == SPHERE:
            self.parts = [_ball(placed.centre_n3, size[:, 0], grid)]
        else:
            self.parts = [_barrel(placed, grid)]
        if kind == CAPSULE:
            reach = placed.axes_n33[:, :, 2] * size[:, 1:2]
            self.parts += [_ball(placed.centre_n3 + end, size[:, 0], grid) for end in (reach, -reach)]

    def met(self, window: Window) -> np.ndarray:
        """w of the first surface that each ray meets, (n, rows, columns); 0 or less where it meets none.

        From inside it is the last one.
        """
        spans = [part.span(window) for part in self.parts]
        inside = np.logical_or.reduce([part.inside[window[0]] for part in self.parts])
        last = [_left(*span)[inside] for span in spans] if inside.any() else []
        for enter, leave in spans:
            if leave is not None:
                enter *= enter >= leave
        found = spans[0][0]
        for enter, _ in spans[1:]:
            np.maximum(found, enter, out=found)
        if last:
            found[inside] = np.min(last, axis=0)
        return found

    def facing(self, window: Window, w: np.ndarray, light_n3: np.ndarray, lit: np.ndarray) -> np.ndarray:
        """Products of the outward normals where rays meet the surface, at `w` as `met`, with directions of light.

        lit: the products of these directions with the rays. All are (n, rows, columns).
        """
        some = window[0]
        if self.kind in (PLANE, BOX):
            return self._flat(window, w, light_n3, np.zeros_like(w))
        centre, size = self.placed.centre_n3[some], self.placed.size_n3[some]
        at = (centre * light_n3).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = lit / w - _each(at, w)
            if self.kind != SPHERE:
                direction, offset = (values[some] for values in self.placed.along(2))
                along = self.grid.lines(direction).within((slice(None), *window[1:])) / w - _each(offset, w)
                if self.kind == CAPSULE:
                    along = np.clip(along, *(_each(end * size[:, 1], w) for end in (-1, 1)))
                found -= along * _each((direction * light_n3).sum(axis=1), w)
            found /= _each(size[:, 0], w)
        return self._flat(window, w, light_n3, found) if self.kind == CYLINDER else found

    def _flat(self, window: Window, w: np.ndarray, light_n3: np.ndarray, found: np.ndarray) -> np.ndarray:
        """`found`, but where one of the planes is met: by those that rays enter by, from inside by the others."""
        part = self.parts[0]
        assert part.enter is not None and part.leave is not None
        inside = part.inside[window[0]]
        for planes, matter in ((part.enter, ~inside), (part.leave, inside)):
            for index in np.flatnonzero((planes.matter[:, window[0]] & matter).any(axis=1)).tolist():
                shade = (planes.normal(index, window[0]) * light_n3).sum(axis=1)
                np.copyto(found, _each(shade, w), where=planes.w.within(window, index) == w)
        return found


def _left(enter: np.ndarray, leave: np.ndarray | None) -> np.ndarray:
    """w where rays leave a part that they meet ahead of the camera, infinite where they do not."""
    assert leave is not None, "whoever is inside has somewhere to leave by"
    return np.where((enter >= leave) & (enter > 0), leave, np.inf)


def _each(values_n: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """One value per picture, as it is combined with the pixels."""
    return values_n.astype(pictures.dtype)[:, None, None]


def _barrel(placed: Placed, grid: Grid) -> ConvexPart:
    """A cylinder."""
    flat = _between(placed, grid, [2], placed.size_n3[:, 1:2])
    (u, at_u), (v, at_v) = placed.along(0), placed.along(1)
    a = at_u**2 + at_v**2 - placed.size_n3[:, 0] ** 2
    tube = _quadric(a, u * at_u[:, None] + v * at_v[:, None], [u, v], grid)
    return ConvexPart(flat.enter, flat.leave, tube, flat.inside & (a < 0))


def _quadric(a_n: np.ndarray, b_n3: np.ndarray, c: list[np.ndarray], grid: Grid) -> Quadric:
    beside: np.ndarray = np.where(np.abs(a_n) < _LEAST, _LEAST, a_n).astype(grid.dtype)
    return Quadric(beside[:, None, None], grid.lines(b_n3), [grid.lines(vector) for vector in c])


def _ball(centre_n3: np.ndarray, radius_n: np.ndarray, grid: Grid) -> ConvexPart:
    a = (centre_n3**2).sum(axis=1) - radius_n**2
    square = [np.tile(axis, (len(a), 1)) for axis in np.eye(3)]
    return ConvexPart(None, None, _quadric(a, centre_n3, square, grid), a < 0)


def _between(placed: Placed, grid: Grid, axes: Sequence[int], half_nK: np.ndarray) -> ConvexPart:
    """Between pairs of planes, at `half_nK` from the centre to either side of it along each of the axes."""
    direction = np.moveaxis(placed.axes_n33[:, :, axes], 2, 0)
    offset = (direction * placed.centre_n3).sum(axis=-1)
    upper, lower = (
        np.where(np.abs(q) < _LEAST, _LEAST, q)[..., None] for q in (half_nK.T + offset, half_nK.T - offset)
    )
    by_upper, by_lower = direction / upper, -direction / lower
    between = (upper > 0) & (lower > 0)
    # by the plane that faces the camera rays enter, by the other they leave; from between them by either
    enter = np.where(between, [0, 0, -_INSIDE], np.where(upper < 0, by_upper, by_lower))
    leave = np.where(upper < 0, by_lower, by_upper)
    ways_out = np.concatenate([leave, np.where(between, by_lower, leave)])
    between = between[..., 0]
    matter = np.concatenate([np.ones_like(between), between])
    by = Planes(grid.lines(enter), enter, ~between, False), Planes(grid.lines(ways_out), ways_out, matter, True)
    return ConvexPart(*by, quadric=None, inside=np.all(between, axis=0))


def _front(placed: Placed, grid: Grid) -> ConvexPart:
    """An endless plane, which is seen from its front only."""
    normal, offset = placed.along(2)
    front = (offset < -_LEAST)[:, None]
    enter = (normal / np.where(front, offset[:, None], np.inf))[None]
    planes = Planes(grid.lines(enter), enter, np.ones(enter.shape[:2], bool), False)
    nothing = Planes(grid.lines(0 * enter), enter, np.zeros(enter.shape[:2], bool), True)
    return ConvexPart(planes, nothing, None, np.zeros(len(normal), bool))
