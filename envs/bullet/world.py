"""A running Bullet scene: ``World`` on the second engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.robot import BulletRobot
from embodkd.envs.camera import Camera, RayCamera
from embodkd.envs.randomise import Randomise
from embodkd.envs.state import below, under
from embodkd.envs.world import World


class BulletCamera(RayCamera):
    """One ``Camera`` on a ``BulletSim``: the same rays, from where Bullet has put the bodies."""

    def __init__(self, sim: BulletSim, camera: Camera, randomise: Randomise) -> None:
        super().__init__(camera, sim.colours_G3, sim.shape_body_G, sim.num_envs, randomise)
        self.sim = sim
        self._body = sim.body(camera.body) if camera.body else None

    def body_pose(self, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """See ``RayCamera``."""
        chosen = np.arange(self.sim.num_envs) if ids is None else ids
        if self._body is None:
            return np.zeros((len(chosen), 3)), np.tile(np.eye(3), (len(chosen), 1, 1))
        return self.sim.place_NB3[chosen, self._body], self.sim.rotation_NB33[chosen, self._body]

    def places(self, bodies: np.ndarray, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """See ``RayCamera``."""
        chosen = slice(None) if ids is None else ids
        return self.sim.place_NB3[chosen][:, bodies], self.sim.rotation_NB33[chosen][:, bodies]

    def hits(
        self, origin: np.ndarray, rotation: np.ndarray, vector: np.ndarray, ids: np.ndarray | None, *, normals: bool
    ) -> tuple[np.ndarray, ...]:
        """See ``RayCamera``; normals cost next to nothing here and always come."""
        copies = np.arange(self.sim.num_envs) if ids is None else ids
        return self.sim.ray(origin, vector, copies, self.camera.hidden_groups)


class BulletWorld(World):
    """N copies of a scene; see ``World`` for what its methods promise."""

    sim: BulletSim
    robot: BulletRobot

    def __init__(
        self,
        sim: BulletSim,
        robot: BulletRobot,
        cameras: Sequence[Camera],
        overview: Camera,
        *,
        substeps: int,
        randomise: Randomise,
    ) -> None:
        self.sim, self.robot = sim, robot
        super().__init__(cameras, overview, substeps=substeps, randomise=randomise)

    def eye(self, camera: Camera, randomise: Randomise) -> BulletCamera:
        """A camera on this scene."""
        return BulletCamera(self.sim, camera, randomise)

    def put(self, body: str, ids: np.ndarray, position_n3: np.ndarray, quat_n4: np.ndarray) -> None:
        """See ``World``."""
        row = self.sim.body(body)
        self.sim.position_NB3[ids, row], self.sim.quat_NB4[ids, row] = position_n3, quat_n4
        self.sim.velocity_NB6[ids, row] = 0.0

    def position(self, body: str) -> np.ndarray:
        """See ``World``."""
        return self.sim.place_NB3[:, self.sim.body(body)]

    def rotation(self, body: str) -> np.ndarray:
        """See ``World``."""
        return self.sim.rotation_NB33[:, self.sim.body(body)]

    def velocity(self, body: str) -> np.ndarray:
        """See ``World``."""
        return self.sim.velocity_NB6[:, self.sim.body(body), :3]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        return super().state_dict() | under("robot", self.robot.state_dict())

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        super().load_state_dict(arrays)
        self.robot.load_state_dict(below("robot", arrays))

    def close(self) -> None:
        """Disconnect from Bullet."""
        self.sim.close()

    def _reset(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        sim, how = self.sim, self._randomise
        sim.reset(ids)
        # the first body stands for the world, as in the other engine: the draws of a seed are then the same
        mass = how.factor(seeds, "mass", len(sim.bodies))
        sim.mass_NB[ids] *= mass
        sim.inertia_NB3[ids] *= mass[:, :, None]
        sim.friction_NB[ids] *= np.sqrt(how.factor(seeds, "friction", 1))  # of a pair it is the product
        self.robot.randomise(how, ids, seeds)

    def _step(self) -> None:
        self.sim.step(self._substeps, self.robot.drive)
