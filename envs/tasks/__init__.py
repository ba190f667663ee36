"""One file per task."""

import embodkd.envs.opengl  # noqa: F401 (before anything here imports mujoco)
