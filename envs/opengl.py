"""The first import of MuJoCo, which breaks where the OpenGL that ``MUJOCO_GL`` names does not start.

Only ``sim/render.py`` draws through OpenGL.  All else goes without, so MuJoCo is then imported without it, and whoever
does want to draw is told ``REASON``.
"""

from __future__ import annotations

import os


def _import_mujoco() -> str:
    """Import it with OpenGL, or else without; why without, "" if with it."""
    before = {name: os.environ.get(name) for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    try:
        import mujoco
    except Exception as error:
        if before["MUJOCO_GL"] is None:
            raise
        os.environ["MUJOCO_GL"] = "disable"
        import mujoco  # noqa: F401

        return f"{type(error).__name__}: {error}"
    finally:
        # Children of this process shall be told what it was told.
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return ""


REASON = _import_mujoco()
"""Why MuJoCo was imported without OpenGL; "" where it was not."""
