"""The batched simulator on MuJoCo: stepping, cameras, robots, randomisation.  It knows no task."""

import embodkd.envs.opengl  # noqa: F401 (before anything here imports mujoco)
