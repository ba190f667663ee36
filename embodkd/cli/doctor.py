"""`embodkd doctor`: what works here, how fast, what is missing and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Literal

from embodkd.cli.common import too_busy
from embodkd.cli.extras import ANY_OF, GIVES, is_here, packages_of, remedy
from embodkd.core.config.ranges import Within

_SLOW_DISK_MB_S, _FREE_GB = 50.0, 2.0
_WITHOUT_CUDA = (
    "built for CUDA, and no GPU answers; where there is none, this spares 3.4 GB: pip install --force-reinstall torch "
    "--index-url https://download.pytorch.org/whl/cpu"
)


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, its state, what was found, and how to mend it. `core`: nothing works without."""

    what: str
    state: Literal["ok", "slow", "missing"]
    found: str
    mend: str = ""
    core: bool = False


def doctor(seconds: Annotated[float, Within(0.0, 3600.0, above=True)]) -> int:
    """Print one line per part of this machine; the exit code is 1 only if the core does not work."""
    checks: tuple[Callable[[float], Iterator[Finding]], ...] = (
        _python, _threads, _disk, _torch, _mujoco, _rays, _opengl, _bullet, _extras, _video,
    )  # fmt: skip
    broken = False
    for check in checks:
        for finding in _guarded(check, seconds):
            broken |= finding.core and finding.state == "missing"
            mend = f"  -> {finding.mend}" if finding.mend else ""
            print(f"{finding.state:<8} {finding.what:<18} {finding.found}{mend}", flush=True)
    return 1 if broken else 0


def _guarded(check: Callable[[float], Iterator[Finding]], seconds: float) -> Iterator[Finding]:
    """A check that breaks is itself a finding: the doctor must not die of the patient."""
    try:
        yield from check(seconds)
    except Exception as error:
        name = check.__name__.lstrip("_")
        core = check in (_torch, _mujoco, _rays)
        first = (str(error).splitlines() or [""])[0]
        mend = (
            "reinstall: pip install embodkd" if isinstance(error, ImportError) else "a fault of ours: please report it"
        )
        yield Finding(name, "missing", f"{type(error).__name__}: {first}", mend, core)


def _python(seconds: float) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok", f"{version} at {sys.executable}")


def _torch(seconds: float) -> Iterator[Finding]:
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU only"
    image = torch.randn(64, 3, 48, 48)
    layer = torch.nn.Conv2d(3, 32, 5, stride=2)
    rate = 64 * _rate(lambda: layer(image), seconds / 2)
    said = f"{torch.__version__}, {device}, {rate:,.0f} images/s through a convolution"
    unused = torch.version.cuda is not None and not torch.cuda.is_available()
    yield Finding("torch", "ok", said, _WITHOUT_CUDA if unused else "", core=True)


def _threads(seconds: float) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    said = f"{cores} cores, load {load:.1f}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    if too_busy():
        yield Finding("threads", "slow", said, "other programs are using the processor: timings will be long")
    else:
        yield Finding("threads", "ok", said)


def _disk(seconds: float) -> Iterator[Finding]:
    free = shutil.disk_usage(".").free / 1e9
    try:
        with tempfile.NamedTemporaryFile(dir=".") as file:
            start = time.perf_counter()
            file.write(os.urandom(1 << 20) * 16)
            file.flush()
            os.fsync(file.fileno())
            speed = 16 / (time.perf_counter() - start)
    except OSError as error:
        yield Finding(
            "disk", "missing", f"cannot write here: {error.strerror}", "change to a folder that you may write to"
        )
        return
    said = f"{free:.0f} GB free here, {speed:.0f} MB/s"
    if free < _FREE_GB:
        yield Finding("disk", "slow", said, f"less than {_FREE_GB:.0f} GB: remove old runs/")
    elif speed < _SLOW_DISK_MB_S:
        yield Finding("disk", "slow", said, "checkpoints will hold training up: raise trainer.checkpoint_s")
    else:
        yield Finding("disk", "ok", said)


def _task_rate(copies: int, seconds: float, engine: str = "mujoco", sees: str | None = None) -> float:
    """Control steps of peg_hole per second in all copies together, or pictures of what it `sees`."""
    import numpy as np

    from embodkd.envs import make_task

    with closing(make_task("peg_hole", copies, engine=engine)) as task:
        task.reset(np.arange(copies))
        still = np.zeros((copies, task.spec.action_size), np.float32)
        return copies * _rate(lambda: task.step(still) if sees is None else task.observe([sees]), seconds)


def _mujoco(seconds: float) -> Iterator[Finding]:
    rate = _task_rate(64, seconds)
    version = importlib.metadata.version("mujoco")
    yield Finding("engine mujoco", "ok", f"{version}, {rate:,.0f} control steps/s of peg_hole in 64 copies", core=True)


def _rays(seconds: float) -> Iterator[Finding]:
    rate = _task_rate(32, seconds, sees="wrist_depth")
    yield Finding("renderer rays", "ok", f"{rate:,.0f} depth images/s at 48 x 48, no graphics needed", core=True)


def _opengl(seconds: float) -> Iterator[Finding]:
    from embodkd.envs.sim.render import probe

    found, chosen = probe(), os.environ.get("MUJOCO_GL")
    if found.platform is None:
        without = f"; until then unset MUJOCO_GL={chosen}" if chosen else ""
        yield Finding("renderer opengl", "missing", "not needed unless you ask for it", found.advice + without)
        return
    software = any(word in found.renderer.lower() for word in ("llvmpipe", "softpipe", "swrast"))
    said = f"{found.platform}: {found.renderer}, {found.fps:,.0f} images/s at 64 x 64"
    mend = "" if chosen == found.platform else f"set MUJOCO_GL={found.platform} before Python starts to use it"
    yield Finding("renderer opengl", "slow" if software else "ok", said, mend)


def _bullet(seconds: float) -> Iterator[Finding]:
    try:
        version = importlib.metadata.version("pybullet")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("engine bullet", "missing", "only engine=bullet needs it", remedy("bullet"))
        return
    rate = _task_rate(4, seconds, engine="bullet")
    yield Finding("engine bullet", "ok", f"{version}, {rate:,.0f} control steps/s of peg_hole")


def _extras(seconds: float) -> Iterator[Finding]:
    for extra, gives in GIVES.items():
        packages = packages_of(extra)
        missing = [name for name in packages if not is_here(name)]
        if not missing:
            yield Finding(f"extra {extra}", "ok", f"{gives}: {', '.join(packages)}")
        elif extra in ANY_OF and len(missing) < len(packages):
            yield Finding(f"extra {extra}", "ok", f"{gives}: without {', '.join(missing)}")
        else:
            yield Finding(f"extra {extra}", "missing", f"{gives}: without {', '.join(missing)}", remedy(extra))


def _video(seconds: float) -> Iterator[Finding]:
    import av

    names = [name for name in ("libx264", "libopenh264", "mpeg4") if name in av.codecs_available]
    if names:
        yield Finding("video", "ok", f"PyAV {av.__version__} with {names[0]}")
    else:
        yield Finding(
            "video", "missing", f"PyAV {av.__version__} without an mp4 encoder", "pip install --force-reinstall av"
        )


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Calls per second, after one that warms up."""
    work()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        work()
        calls += 1
    return calls / (time.perf_counter() - start)
