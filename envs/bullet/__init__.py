"""The same tasks on PyBullet, the second engine."""

import embodkd.envs.opengl  # noqa: F401 (before anything here imports mujoco)
