"""A running scene with one robot and its cameras: what a task sees of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from embodkd.envs import draws
from embodkd.envs.camera import By, Camera, RayCamera
from embodkd.envs.randomise import Randomise
from embodkd.envs.robot import Tool
from embodkd.envs.spec import Group
from embodkd.envs.state import below, restore, saved, under

from embodkd.core.config.registry import near

POINT_GRID = (16, 32)
_KEPT = {"delay": "_delay_N", "queue": "_queue_NLA", "look": "_look_N", "frame": "_frame_N", "begun": "_begun_N"}
Look = Callable[[np.ndarray | None], np.ndarray]


class Simulator(Protocol):
    """N copies of a scene in an engine, as rows."""

    num_envs: int

    def forward(self, ids: np.ndarray | None = None) -> None:
        """Make everything derived current after rows were written."""
        ...

    def state_dict(self) -> dict[str, np.ndarray]:
        """State and parameters of all copies."""
        ...

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue exactly from ``state_dict``."""
        ...


class World(ABC):
    """N copies of a scene. A task starts episodes by ``start``, ``put`` for each body, ``robot.place`` and ``settle``.

    Poses are in the world, metres and radians; arrays are (N, ...).  The cameras' groups are all deployable, except
    segmentation, which only a simulator knows.
    """

    sim: Simulator
    robot: Tool

    def __init__(self, cameras: Sequence[Camera], overview: Camera, *, substeps: int, randomise: Randomise) -> None:
        """Called by an engine's class once ``sim`` and ``robot`` are there."""
        count = self.sim.num_envs
        self._substeps, self._randomise, self._overview = substeps, randomise, overview
        self._delay_N = np.zeros(count, np.int64)
        self._queue_NLA = np.zeros((count, randomise.latency + 1, self.robot.action_size), np.float32)
        self._look_N, self._frame_N = np.zeros((2, count), np.int64)
        self._begun_N = np.zeros(count, bool)
        self.cameras = {camera.name: self.eye(camera, randomise) for camera in cameras}
        self._looks = _looks(list(self.cameras.values()))
        self.camera_groups = list(self._looks)

    @abstractmethod
    def eye(self, camera: Camera, randomise: Randomise) -> RayCamera:
        """A camera on this scene."""

    @abstractmethod
    def _reset(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        """Give copies their default state and the physics that their episodes draw."""

    @abstractmethod
    def _step(self) -> None:
        """One control period of every copy after ``robot.command``."""

    @abstractmethod
    def put(self, body: str, ids: np.ndarray, position_n3: np.ndarray, quat_n4: np.ndarray) -> None:
        """Put a body that is loose or stands still there in copies ``ids``, at rest; then ``settle``."""

    @abstractmethod
    def position(self, body: str) -> np.ndarray:
        """Where a body's frame is, (N, 3)."""

    @abstractmethod
    def rotation(self, body: str) -> np.ndarray:
        """How a body's frame is turned, (N, 3, 3)."""

    @abstractmethod
    def velocity(self, body: str) -> np.ndarray:
        """Linear velocity of a loose body, (N, 3)."""

    def start(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        """Begin to start episodes: default state, physics and looks drawn. Then write rows, and ``settle``."""
        self._reset(ids, seeds)
        self._delay_N[ids] = self._randomise.delays(seeds)
        self._queue_NLA[ids] = 0.0
        self._look_N[ids], self._frame_N[ids], self._begun_N[ids] = seeds, 0, True
        self._draw_looks(ids)

    def dress(self, look: int) -> None:
        """See ``BatchTask``."""
        if look and not self._randomise.varied:
            raise ValueError("looks: this task draws none; choose randomise=looks, or one look")
        self._draw_looks(np.flatnonzero(self._begun_N), look)

    def _draw_looks(self, ids: np.ndarray, look: int = 0) -> None:
        keys, frames = self._look_N[ids], self._frame_N[ids]
        if self._randomise.per_frame:
            keys = np.where(frames > 0, draws.forked(keys, "frame", frames), keys)
        if look:
            keys = draws.forked(keys, "look", look)
        for camera in self.cameras.values():
            camera.place(ids, keys)

    def see(self, by: By) -> None:
        """Let the cameras see by "rays" or, where the engine can, by "shapes"; "auto" is what costs less."""
        if by == "shapes":
            raise ValueError(f"cameras={by}: this engine has rays only; choose engine=mujoco, or cameras=rays")

    def settle(self, ids: np.ndarray) -> None:
        """End it: make everything derived current."""
        self.sim.forward(ids)

    def advance(self, actions: np.ndarray) -> None:
        """One control period of every copy; an action arrives after the copy's own delay."""
        self._queue_NLA[:, 1:] = self._queue_NLA[:, :-1].copy()
        self._queue_NLA[:, 0] = actions
        self.robot.command(self._queue_NLA[np.arange(len(actions)), self._delay_N])
        self._step()
        self._frame_N += 1
        if self._randomise.per_frame:
            self._draw_looks(np.flatnonzero(self._begun_N))

    def look(self, group: Group, ids: np.ndarray | None) -> np.ndarray:
        """Fresh images or points of one of ``camera_groups``."""
        return self._looks[group](ids)

    def render(self, ids: np.ndarray | None, size: tuple[int, int], camera: str) -> np.ndarray:
        """Pictures for people, uint8 (n, H, W, 3), by shaded rays: square views, cropped to ``size``.

        camera: "overview", or one of the task's own; ``ValueError`` for another.
        """
        views = {"overview": self._overview} | {name: eye.camera for name, eye in self.cameras.items()}
        if camera not in views:
            raise ValueError(f"camera: there is no {camera!r}: {near(camera, views)}")
        chosen = views[camera]
        side = max(size)
        eye = self.eye(replace(chosen, size=side, hidden_groups=()), Randomise())
        pictures = np.moveaxis(eye.rgb(ids), 1, -1)
        top, left = (side - size[0]) // 2, (side - size[1]) // 2
        return np.ascontiguousarray(pictures[:, top : top + size[0], left : left + size[1]])

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        return saved(self, _KEPT) | under("sim", self.sim.state_dict())

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        restore(self, _KEPT, arrays)
        self._draw_looks(np.flatnonzero(self._begun_N))
        self.sim.load_state_dict(below("sim", arrays))

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds; harmless twice."""


def _looks(eyes: Sequence[RayCamera]) -> Mapping[Group, Look]:
    """The groups that these cameras give, and the function that makes each."""
    looks: dict[Group, Look] = {}
    for eye in eyes:
        name, side = eye.camera.name, eye.camera.size
        span = f"0..255 is {1000 * eye.camera.near:.0f} to {1000 * eye.camera.far:.0f} mm"
        looks |= {
            Group(f"{name}_depth", (1, side, side), False, span, f"{name} camera, depth", "uint8"): eye.depth,
            Group(f"{name}_rgb", (3, side, side), False, "0..255", f"{name} camera, colour", "uint8"): eye.rgb,
            Group(
                f"{name}_segmentation",
                (1, side, side),
                True,
                "id",
                f"{name} camera, geom id plus one, 0 for none",
                "uint8",
            ): eye.segmentation,
        }
    if eyes:
        count, doc = POINT_GRID[0] * POINT_GRID[1], f"cloud of the {eyes[0].camera.name} camera, in its own frame"
        looks[Group("points", (count, 3), False, "m", doc)] = lambda ids: eyes[0].points(ids, *POINT_GRID)
    return looks
