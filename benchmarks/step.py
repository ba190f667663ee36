"""The environment step with observations, reward and resets, against MuJoCo itself and stable-baselines3's VecEnvs.

Those hold 64 single Gymnasium environments of the same task and code, a batch of one each; an environment written for
one copy in plain Python would narrow the gap.  All ratios are of CPU time, workers included.
"""

from __future__ import annotations

from functools import partial

import mujoco
import numpy as np
from embodkd.envs import Stream, make_task
from embodkd.envs.doors.gym import TaskEnv
from embodkd.envs.doors.sb3 import TaskVecEnv
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from benchmarks.measure import Contender, Line, Sample, median_interval, ratios, summary, take_turns

COMMAND = "python -m benchmarks step"
TASK, COPIES, GROUPS = "peg_hole", 64, ("proprio", "privileged")
STEPS = 40  # an episode of the task: each call restarts every copy once


def lines() -> list[Line]:
    """Three lines: overhead on raw physics, speed against both of stable-baselines3's vectorised environments."""
    # processes are forked before this one has threads
    workers = SubprocVecEnv([_single] * COPIES, start_method="fork")
    loop = DummyVecEnv([_single] * COPIES)
    task = make_task(TASK, COPIES)
    batch = TaskVecEnv(task, GROUPS)
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, COPIES, task.spec.action_size)).astype(np.float32)
    try:
        for env in (workers, loop, batch):
            env.reset()
        doors = take_turns(
            {
                "embodkd": Contender(partial(_drive, batch, actions)),
                "sb3 SubprocVecEnv": Contender(partial(_drive, workers, actions), [p.pid for p in workers.processes]),
                "sb3 DummyVecEnv": Contender(partial(_drive, loop, actions)),
            }
        )
    finally:
        workers.close()
        loop.close()
    stream = Stream(task, GROUPS)
    stream.reset()
    replay = _Replay(stream, actions)
    physics = take_turns(
        {"embodkd": Contender(partial(_stream, stream, actions)), "raw mj_step": Contender(replay.run)}
    )
    return [
        _line("step / raw mj_step", physics, ("embodkd", "raw mj_step"), "<=", 1.25),
        _line("step vs SubprocVecEnv", doors, ("sb3 SubprocVecEnv", "embodkd"), ">=", 3.0),
        _line("step vs DummyVecEnv", doors, ("sb3 DummyVecEnv", "embodkd"), ">=", 2.0),
    ]


class _Replay:
    """The physics of ``STEPS`` control steps of the same copies and nothing else, from recorded starts and controls."""

    def __init__(self, stream: Stream, actions: np.ndarray) -> None:
        sim = stream.task.world.sim  # type: ignore[attr-defined]
        model = sim.model
        self._substeps = stream.task.world._substeps  # type: ignore[attr-defined]
        self._rows = [(model, mujoco.MjData(model)) for _ in range(COPIES)]
        whole = int(mujoco.mjtState.mjSTATE_INTEGRATION)
        for copy, (_, data) in enumerate(self._rows):
            state = np.zeros(mujoco.mj_stateSize(model, whole))
            _, alike = sim.snapshot(copy)
            mujoco.mj_getState(model, alike, state, whole)
            mujoco.mj_setState(model, data, state, whole)
        self._starts = [(data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy()) for _, data in self._rows]
        self._controls, self._aims = np.zeros((STEPS, COPIES, model.nu)), np.zeros((STEPS, COPIES, model.nmocap, 4))
        for step, action in enumerate(actions):
            stream.task.step(action)
            self._controls[step], self._aims[step] = sim.view("ctrl"), sim.view("mocap_quat")
        stream.reset()

    def run(self) -> None:
        """Step every copy from its start."""
        for (model, data), (qpos, position, quat) in zip(self._rows, self._starts, strict=True):
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.mocap_pos[:], data.mocap_quat[:] = qpos, position, quat
        for controls, aims in zip(self._controls, self._aims, strict=True):
            for (model, data), control, aim in zip(self._rows, controls, aims, strict=True):
                data.ctrl[:], data.mocap_quat[:] = control, aim
                mujoco.mj_step(model, data, nstep=self._substeps)


def _line(name: str, samples: dict[str, list[Sample]], pair: tuple[str, str], sense: str, target: float) -> Line:
    value, interval = median_interval(ratios(samples[pair[0]], samples[pair[1]]))
    wall, _ = median_interval(ratios(samples[pair[0]], samples[pair[1]], "wall"))
    details = summary(samples, STEPS * COPIES) | {"unit_of_rates": "environment steps", "wall_ratio": wall}
    details |= {"task": TASK, "copies": COPIES, "groups": list(GROUPS)}
    return Line(name, value, interval, "x CPU", sense, target, COMMAND, details)  # type: ignore[arg-type]


def _single() -> TaskEnv:
    return TaskEnv(TASK, groups=GROUPS, threads=1)


def _drive(env: VecEnv, actions: np.ndarray) -> None:
    for action in actions:
        env.step(action)


def _stream(stream: Stream, actions: np.ndarray) -> None:
    for action in actions:
        stream.step(action)
