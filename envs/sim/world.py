"""A running MuJoCo scene with one tool robot and its cameras: what a task sees of this engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import mujoco
import numpy as np
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.camera import Camera, RayCamera
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.sim.robots.base import ToolRobot
from embodkd.envs.spec import Group

POINT_GRID = (16, 32)


class SimWorld:
    """N copies of a scene.  ``place`` starts episodes, ``advance`` applies one action for one control period.

    Poses are in the world, metres and radians; arrays are (N, ...).  The cameras' groups are all deployable, except
    segmentation, which only a simulator knows.
    """

    def __init__(
        self,
        spec: mujoco.MjSpec,
        robot: ToolRobot,
        cameras: list[Camera],
        overview: Camera,
        num_envs: int,
        *,
        threads: int,
        substeps: int,
        randomise: Randomise,
    ) -> None:
        self.sim = BatchSim(spec.compile(), num_envs, threads=threads)
        self.robot = robot
        robot.bind(self.sim)
        self._substeps, self._randomise, self._overview = substeps, randomise, overview
        self._delay_N = np.zeros(num_envs, np.int64)
        self._queue_NLA = np.zeros((num_envs, randomise.latency + 1, robot.action_size), np.float32)
        self.cameras = {camera.name: RayCamera(self.sim, camera, randomise) for camera in cameras}
        self.sim.view("xpos"), self.sim.view("xmat")
        self._looks = self._camera_looks()
        self.camera_groups = [group for group, _ in self._looks.values()]

    def start(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        """The first half of starting episodes: default state, physics and looks drawn.  Then write rows, ``settle``."""
        self.sim.reset(ids)
        self._randomise.place(self.sim, ids, seeds)
        self._delay_N[ids] = self._randomise.delays(seeds)
        self._queue_NLA[ids] = 0.0
        for camera in self.cameras.values():
            camera.place(ids, seeds)

    def settle(self, ids: np.ndarray) -> None:
        """The second half: make everything derived current."""
        self.sim.forward(ids)

    def advance(self, actions: np.ndarray) -> None:
        """One control period of every copy; an action arrives after the copy's own delay."""
        self._queue_NLA[:, 1:] = self._queue_NLA[:, :-1].copy()
        self._queue_NLA[:, 0] = actions
        self.robot.command(self._queue_NLA[np.arange(len(actions)), self._delay_N])
        self.sim.step(self._substeps)

    def look(self, group: str, ids: np.ndarray | None) -> np.ndarray:
        """Fresh images or points of one camera group."""
        return self._looks[group][1](ids)

    def render(self, ids: np.ndarray | None, size: tuple[int, int], camera: str) -> np.ndarray:
        """Pictures for people, uint8 (n, H, W, 3), by shaded rays: square views, cropped to ``size``."""
        chosen = self._overview if camera == "overview" else self.cameras[camera].camera
        side = max(size)
        eye = RayCamera(self.sim, replace(chosen, size=side, hidden_groups=()), Randomise())
        pictures = np.moveaxis(eye.rgb(ids), 1, -1)
        top, left = (side - size[0]) // 2, (side - size[1]) // 2
        return np.ascontiguousarray(pictures[:, top : top + size[0], left : left + size[1]])

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        own: dict[str, np.ndarray] = {"delay": self._delay_N.copy(), "queue": self._queue_NLA.copy()}
        looks = {k: v for camera in self.cameras.values() for k, v in camera.state_dict().items()}
        state = {f"sim/{k}": v for k, v in self.sim.state_dict().items()}
        return {**own, **{f"look/{k}": v for k, v in looks.items()}, **state}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        self._delay_N[:], self._queue_NLA[:] = arrays["delay"], arrays["queue"]
        for camera in self.cameras.values():
            camera.load_state_dict({k.removeprefix("look/"): v for k, v in arrays.items() if k.startswith("look/")})
        self.sim.load_state_dict({k.removeprefix("sim/"): v for k, v in arrays.items() if k.startswith("sim/")})

    def close(self) -> None:
        """Nothing to free: the batch goes with its last reference."""

    def _camera_looks(self) -> dict[str, tuple[Group, Callable[[np.ndarray | None], np.ndarray]]]:
        looks: dict[str, tuple[Group, Callable[[np.ndarray | None], np.ndarray]]] = {}
        for name, eye in self.cameras.items():
            side = eye.camera.size
            span = f"{1000 * eye.camera.near:.0f} to {1000 * eye.camera.far:.0f} mm"
            groups = [
                (
                    Group(
                        f"{name}_depth",
                        (1, side, side),
                        False,
                        f"0..255 is {span}",
                        f"{name} camera, depth",
                        "uint8",
                    ),
                    eye.depth,
                ),
                (
                    Group(f"{name}_rgb", (3, side, side), False, "0..255", f"{name} camera, colour", "uint8"),
                    eye.rgb,
                ),
                (
                    Group(
                        f"{name}_segmentation",
                        (1, side, side),
                        True,
                        "id",
                        f"{name} camera, geom id",
                        "uint8",
                    ),
                    eye.segmentation,
                ),
            ]
            looks |= {group.name: (group, function) for group, function in groups}
        first = next(iter(self.cameras.values()), None)
        if first is not None:
            count = POINT_GRID[0] * POINT_GRID[1]
            doc = f"cloud of the {first.camera.name} camera, in its own frame"
            looks["points"] = (
                Group("points", (count, 3), False, "m", doc),
                lambda ids: first.points(ids, *POINT_GRID),
            )
        return looks
