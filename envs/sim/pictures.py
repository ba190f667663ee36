"""Pictures of a batched scene by its shapes: what a ray per pixel would find, for less."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.pixels import PLANE, Grid, Placed, Window, covered
from embodkd.envs.sim.shapes import SIMPLE, Solids

_TOGETHER = 2**16  # pixels that are drawn at once: what is in between stays in the processor's cache
_AWAY = 1000.0  # m


@dataclass(frozen=True)
class _Item:
    """One geom in n copies: the rows from ``first`` on of all of its kind, and what it covers, (n, 4)."""

    geom: int
    solids: Solids
    first: int
    covers: np.ndarray

    def window(self, some: slice) -> Window | None:
        """Rows of the solids and the least rectangle around what is covered in some copies; None if nothing is."""
        covers = self.covers[some]
        seen = covers[covers[:, 1] > 0]
        if not len(seen):
            return None
        (top, _, left, _), (_, bottom, _, right) = seen.min(axis=0), seen.max(axis=0)
        return slice(self.first + some.start, self.first + some.stop), slice(top, bottom), slice(left, right)


class Painter:
    """The geoms of a ``BatchSim`` that a camera shows, drawn by ``shapes``."""

    def __init__(self, sim: BatchSim, hidden_groups: Sequence[int]) -> None:
        self.sim, model = sim, sim.model
        alpha = model.geom_rgba[:, 3].copy()
        with_material = model.geom_matid >= 0
        alpha[with_material] = model.mat_rgba[model.geom_matid[with_material], 3]
        self._geoms = np.flatnonzero(~np.isin(model.geom_group, hidden_groups) & (alpha > 0))

    def able(self) -> bool:
        """Whether all that is shown is a box, sphere, capsule, cylinder or endless plane in every copy."""
        if not {"geom_type", "geom_size"} & self.sim.parameters.keys():
            return self._simple
        return self._all_simple(self._of("geom_type", None), self._of("geom_size", None))

    @cached_property
    def _simple(self) -> bool:
        """The same of the model's own geoms."""
        return self._all_simple(self.sim.model.geom_type[self._geoms], self.sim.model.geom_size[self._geoms])

    @staticmethod
    def _all_simple(kinds: np.ndarray, size: np.ndarray) -> bool:
        ends = (kinds == PLANE) & (size[..., :2] > 0).any(axis=-1)
        return bool(np.isin(kinds, list(SIMPLE)).all() and not ends.any())

    def depth(self, origin: np.ndarray, rotation: np.ndarray, grid: Grid, ids: np.ndarray | None) -> np.ndarray:
        """Depth at each pixel of copies ``ids`` (None: all), (n, rows, columns), infinite where nothing is.

        The cameras are at ``origin`` (n, 3) with ``rotation`` (n, 3, 3).
        """
        inverse: np.ndarray = np.zeros((len(origin), len(grid.y), len(grid.x)), grid.dtype)
        items = list(self._items(origin, rotation, grid, ids))

        def draw(some: slice) -> None:
            for item, window in _windows(items, some):
                nearest = inverse[some, window[1], window[2]]
                np.maximum(nearest, item.solids.met(window), out=nearest)

        self._in_parts(draw, inverse.shape)
        inverse += 0.0  # a zero may be negative
        with np.errstate(divide="ignore"):
            return np.divide(1, inverse, out=inverse)

    def ids(self, origin: np.ndarray, rotation: np.ndarray, grid: Grid, ids: np.ndarray | None) -> np.ndarray:
        """Ids of the geoms at each pixel, (n, rows, columns), -1 where nothing is."""
        geom: np.ndarray = np.full((len(origin), len(grid.y), len(grid.x)), -1, np.int32)
        items = list(self._items(origin, rotation, grid, ids))
        self._in_parts(lambda some: self._found(list(_windows(items, some)), geom[some], grid.dtype), geom.shape)
        return geom

    def lit(
        self,
        origin: np.ndarray,
        rotation: np.ndarray,
        grid: Grid,
        ids: np.ndarray | None,
        light_n3: np.ndarray,
        *,
        deep: bool = False,
    ) -> tuple[np.ndarray, ...]:
        """The ids, how much the surface at each pixel faces a light (the cosine of the angle to it), and where it must
        be ``deep`` the depth, infinite where nothing is."""
        geom: np.ndarray = np.full((len(origin), len(grid.y), len(grid.x)), -1, np.int32)
        shade: np.ndarray = np.zeros(geom.shape, grid.dtype)
        depth: np.ndarray = np.empty(geom.shape if deep else 0, grid.dtype)
        items = list(self._items(origin, rotation, grid, ids))
        light_n3 = (light_n3[:, None] @ rotation)[:, 0]
        rays = grid.lines(light_n3)

        def draw(some: slice) -> None:
            windows = list(_windows(items, some))
            inverse = self._found(windows, geom[some], grid.dtype)
            if deep:
                with np.errstate(divide="ignore"):
                    np.divide(1, inverse, out=depth[some])
            for item, window in windows:
                here = (geom[some, *window[1:]] == self._geoms[item.geom]) & (item.covers[some, 1] > 0)[:, None, None]
                if (inner := _around(here)) is not None:
                    rows, columns = (
                        slice(outer.start + part.start, outer.start + part.stop)
                        for outer, part in zip(window[1:], inner, strict=True)
                    )
                    lit = item.solids.facing(
                        (window[0], rows, columns),
                        inverse[:, rows, columns],
                        light_n3[some],
                        rays.within((some, rows, columns)),
                    )
                    np.copyto(shade[some, rows, columns], lit, where=here[:, *inner])

        self._in_parts(draw, geom.shape)
        return (geom, shade, depth) if deep else (geom, shade)

    def _found(self, windows: Sequence[tuple[_Item, Window]], geom: np.ndarray, dtype: type) -> np.ndarray:
        """Put the ids of what is nearest into ``geom`` (n, rows, columns); returns one over its depth."""
        inverse: np.ndarray = np.zeros(geom.shape, dtype)
        for item, window in windows:
            place = slice(None), *window[1:]
            found, nearest = item.solids.met(window), inverse[place]
            np.copyto(geom[place], self._geoms[item.geom], where=found > nearest)
            np.maximum(nearest, found, out=nearest)
        return inverse

    def _in_parts(self, draw: Callable[[slice], object], shape: tuple[int, ...]) -> None:
        """Draw all geoms of some copies, then of others, side by side where there are threads: numpy lets go of them.

        Each part writes to copies of its own, so that their number changes nothing.
        """
        count, together = shape[0], max(1, _TOGETHER // (shape[1] * shape[2]))
        parts = [slice(start, min(count, start + together)) for start in range(0, count, together)]
        threads = min(len(parts), self.sim.threads)
        if threads < 2:
            for part in parts:
                draw(part)
            return
        # threads of a moment: those that wait would be missing after a fork
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(draw, parts))

    def _items(self, origin: np.ndarray, rotation: np.ndarray, grid: Grid, ids: np.ndarray | None) -> Iterator[_Item]:
        """What is shown, in the axes of the cameras."""
        copies, count = slice(None) if ids is None else ids, len(origin)
        place = self.sim.view("geom_xpos")[copies][:, self._geoms]
        axes = self.sim.view("geom_xmat")[copies][:, self._geoms].reshape(*place.shape, 3)
        every = (place - origin[:, None]) @ rotation, np.swapaxes(rotation, 1, 2)[:, None] @ axes
        kinds, size = self._of("geom_type", ids), self._of("geom_size", ids)
        for kind in np.unique(kinds).tolist():
            which = np.flatnonzero((kinds == kind).any(axis=0))
            rows = [np.swapaxes(values[:, which], 0, 1) for values in (*every, size)]
            alike = Placed(*(values.reshape(len(which) * count, *values.shape[2:]) for values in rows))
            # where a geom is of another kind, nothing of this kind is to be seen: it stands far behind the camera
            alike.centre_n3[kinds[:, which].T.ravel() != kind] = 0, 0, _AWAY
            covers = covered(kind, alike, grid)
            if covers.any():
                solids = Solids(kind, alike, grid)
                for index, first in zip(which.tolist(), range(0, len(covers), count), strict=True):
                    yield _Item(index, solids, first, covers[first : first + count])

    def _of(self, field: str, ids: np.ndarray | None) -> np.ndarray:
        """A field of the shown geoms, (n, G, ...), whether copies differ in it or not."""
        values = self.sim.parameters.get(field)
        if values is None:
            own = getattr(self.sim.model, field)[self._geoms]
            return np.broadcast_to(own, (self.sim.num_envs if ids is None else len(ids), *own.shape))
        return values[:, self._geoms] if ids is None else values[np.ix_(ids, self._geoms)]


def _around(here: np.ndarray) -> tuple[slice, slice] | None:
    """The least rows and columns with all that is true in (n, rows, columns); None if nothing is."""
    somewhere = np.logical_or.reduce(here, axis=0)
    rows, columns = (np.flatnonzero(np.logical_or.reduce(somewhere, axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _windows(items: Sequence[_Item], some: slice) -> Iterator[tuple[_Item, Window]]:
    """The geoms to be drawn in some copies, and where."""
    for item in items:
        if (window := item.window(some)) is not None:
            yield item, window
