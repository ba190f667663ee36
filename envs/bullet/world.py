"""A running Bullet scene with one tool robot and its cameras: ``SimWorld`` on the second engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from embodkd.envs import draws
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.robot import BulletRobot
from embodkd.envs.geometry import look_at, rotate
from embodkd.envs.sim.camera import Camera, RayCamera
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.sim.world import SimWorld


class BulletCamera(RayCamera):
    """One ``Camera`` on a ``BulletSim``: the same rays, from where Bullet has put the bodies."""

    def __init__(self, sim: BulletSim, camera: Camera, randomise: Randomise) -> None:
        self._scene, self.camera, self._randomise = sim, camera, randomise
        self._body = sim.body(camera.body) if camera.body else None
        self._rotation = look_at(np.array(camera.position), np.array(camera.target))
        self._nominal = sim.colours_G3
        self._shift_N3 = np.zeros((sim.num_envs, 3))
        self._turn_N33 = np.tile(np.eye(3), (sim.num_envs, 1, 1))
        self._light_N3 = np.zeros((sim.num_envs, 3))
        self._albedo_NG3 = np.zeros((sim.num_envs, *self._nominal.shape))
        copies = np.arange(sim.num_envs)
        self.place(copies, copies)

    def pose(self, ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Where the camera is now: position (n, 3) and rotation (n, 3, 3), columns as in ``look_at``."""
        chosen = slice(None) if ids is None else ids
        rotation = self._turn_N33[chosen] @ self._rotation
        position = np.asarray(self.camera.position) + self._shift_N3[chosen]
        if self._body is None:
            return position, rotation
        body_rotation = self._scene.rotation_NB33[chosen, self._body]
        body_position = self._scene.place_NB3[chosen, self._body]
        return body_position + rotate(body_rotation, position), body_rotation @ rotation

    def _cast(self, ids: np.ndarray | None, rows: int, columns: int, *, normals: bool) -> tuple[np.ndarray, ...]:
        del normals  # they cost next to nothing here
        origin, rotation = self.pose(ids)
        vector = self.camera.directions(rows, columns) @ np.swapaxes(rotation, 1, 2)
        copies = np.arange(self._scene.num_envs) if ids is None else ids
        return self._scene.ray(origin, vector, copies, self.camera.hidden_groups)


class BulletWorld(SimWorld):
    """N copies of a scene; see ``SimWorld`` for what its methods promise."""

    # they stand in for MuJoCo's wherever the inherited methods use them
    sim: BulletSim  # type: ignore[assignment]
    robot: BulletRobot  # type: ignore[assignment]

    def __init__(
        self,
        sim: BulletSim,
        robot: BulletRobot,
        cameras: list[Camera],
        overview: Camera,
        *,
        substeps: int,
        randomise: Randomise,
    ) -> None:
        self.sim, self.robot = sim, robot
        self._substeps, self._randomise, self._overview = substeps, randomise, overview
        self._delay_N = np.zeros(sim.num_envs, np.int64)
        self._queue_NLA = np.zeros((sim.num_envs, randomise.latency + 1, robot.action_size), np.float32)
        self.cameras = {camera.name: BulletCamera(sim, camera, randomise) for camera in cameras}
        self._looks = self._camera_looks()
        self.camera_groups = [group for group, _ in self._looks.values()]

    def start(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        """The first half of starting episodes: default rows, physics and looks drawn.  Then write rows, ``settle``."""
        how = self._randomise
        self.sim.reset(ids)
        # the first body stands for the world, as in the other engine: the draws of a seed are then the same
        mass = draws.uniform(seeds, "mass", len(self.sim.bodies), low=1 - how.mass, high=1 + how.mass)
        self.sim.mass_NB[ids] *= mass
        self.sim.inertia_NB3[ids] *= mass[:, :, None]
        friction = draws.uniform(seeds, "friction", 1, low=1 - how.friction, high=1 + how.friction)
        self.sim.friction_NB[ids] *= np.sqrt(friction)  # of a pair it is the product
        self.robot.randomise(how, ids, seeds)
        self._delay_N[ids] = how.delays(seeds)
        self._queue_NLA[ids] = 0.0
        for camera in self.cameras.values():
            camera.place(ids, seeds)

    def settle(self, ids: np.ndarray) -> None:
        """The second half: hand the rows to Bullet."""
        self.sim.forward(ids)

    def advance(self, actions: np.ndarray) -> None:
        """One control period of every copy; an action arrives after the copy's own delay."""
        self._queue_NLA[:, 1:] = self._queue_NLA[:, :-1].copy()
        self._queue_NLA[:, 0] = actions
        self.robot.command(self._queue_NLA[np.arange(len(actions)), self._delay_N])
        self.sim.step(self._substeps, self.robot.drive)

    def render(self, ids: np.ndarray | None, size: tuple[int, int], camera: str) -> np.ndarray:
        """Pictures for people, uint8 (n, H, W, 3), by shaded rays: square views, cropped to ``size``."""
        chosen = self._overview if camera == "overview" else self.cameras[camera].camera
        side = max(size)
        eye = BulletCamera(self.sim, replace(chosen, size=side, hidden_groups=()), Randomise())
        pictures = np.moveaxis(eye.rgb(ids), 1, -1)
        top, left = (side - size[0]) // 2, (side - size[1]) // 2
        return np.ascontiguousarray(pictures[:, top : top + size[0], left : left + size[1]])

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        return super().state_dict() | {f"robot/{k}": v for k, v in self.robot.state_dict().items()}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        super().load_state_dict(arrays)
        self.robot.load_state_dict({k.removeprefix("robot/"): v for k, v in arrays.items() if k.startswith("robot/")})

    def close(self) -> None:
        """Disconnect from Bullet."""
        self.sim.close()
