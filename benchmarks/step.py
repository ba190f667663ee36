"""The environment step with observations, reward and resets, against MuJoCo itself and stable-baselines3's VecEnv.

That holds 64 single Gymnasium environments of the same task and code, a batch of one each; an environment written for
one copy in plain Python would narrow the gap.  All ratios are of CPU time, workers included.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import mujoco
import numpy as np
from embodkd.envs import Stream, make_task
from embodkd.envs.doors.gym import TaskEnv
from embodkd.envs.doors.sb3 import TaskVecEnv
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from benchmarks.measure import Contender, Line, Sample, median_interval, ratios, summary, take_turns

COMMAND = "python -m benchmarks step"
TASK, COPIES, GROUPS = "peg_hole", 64, ("proprio", "privileged")
STEPS = 40  # an episode of the task: each call restarts every copy once
RAW = {256: 1.03, 64: 1.10}  # copies -> the most that a step may cost, in units of its physics


def lines() -> list[Line]:
    """Overhead on raw physics, for each number of copies, and speed against worker processes."""
    # processes are forked before this one has threads
    workers = SubprocVecEnv([_single] * COPIES, start_method="fork")
    task = make_task(TASK, COPIES)
    batch = TaskVecEnv(task, GROUPS)
    actions = _actions(COPIES, task.spec.action_size)
    try:
        for env in (workers, batch):
            env.reset()
        doors = take_turns(
            {
                "embodkd": Contender(partial(_drive, batch, actions)),
                "sb3 SubprocVecEnv": Contender(partial(_drive, workers, actions), [p.pid for p in workers.processes]),
            }
        )
    finally:
        workers.close()
    against = _line("step vs SubprocVecEnv", doors, ("sb3 SubprocVecEnv", "embodkd"), ">=", 3.0, COPIES)
    return [*(_against_physics(copies, target) for copies, target in RAW.items()), against]


def _against_physics(copies: int, target: float) -> Line:
    stream = Stream(make_task(TASK, copies), GROUPS)
    stream.reset()
    actions = _actions(copies, stream.task.spec.action_size)
    replay = _Replay(stream, actions)
    samples = take_turns(
        {"embodkd": Contender(partial(_stream, stream, actions)), "raw mj_step": Contender(replay.run)}
    )
    return _line(f"step / raw mj_step, {copies} copies", samples, ("embodkd", "raw mj_step"), "<=", target, copies)


def _actions(copies: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (STEPS, copies, size)).astype(np.float32)


class _Replay:
    """The physics of ``STEPS`` control steps of the same copies and nothing else, from recorded starts and controls."""

    def __init__(self, stream: Stream, actions: np.ndarray) -> None:
        sim, copies = stream.task.world.sim, stream.task.num_envs  # type: ignore[attr-defined]
        model = sim.model
        self._substeps = stream.task.world._substeps  # type: ignore[attr-defined]
        self._rows = [(model, mujoco.MjData(model)) for _ in range(copies)]
        whole = int(mujoco.mjtState.mjSTATE_INTEGRATION)
        for copy, (_, data) in enumerate(self._rows):
            state = np.zeros(mujoco.mj_stateSize(model, whole))
            _, alike = sim.snapshot(copy)
            mujoco.mj_getState(model, alike, state, whole)
            mujoco.mj_setState(model, data, state, whole)
        self._starts = [(data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy()) for _, data in self._rows]
        self._controls, self._aims = np.zeros((STEPS, copies, model.nu)), np.zeros((STEPS, copies, model.nmocap, 4))
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


def _line(
    name: str,
    samples: dict[str, list[Sample]],
    pair: tuple[str, str],
    sense: Literal["<=", ">="],
    target: float,
    copies: int,
) -> Line:
    value, interval = median_interval(ratios(samples[pair[0]], samples[pair[1]]))
    wall, _ = median_interval(ratios(samples[pair[0]], samples[pair[1]], "wall"))
    details = summary(samples, STEPS * copies) | {"unit_of_rates": "environment steps", "wall_ratio": wall}
    details |= {"task": TASK, "copies": copies, "groups": list(GROUPS)}
    return Line(name, value, interval, "x CPU", sense, target, COMMAND, details)


def _single() -> TaskEnv:
    return TaskEnv(TASK, groups=GROUPS, threads=1)


def _drive(env: VecEnv, actions: np.ndarray) -> None:
    for action in actions:
        env.step(action)


def _stream(stream: Stream, actions: np.ndarray) -> None:
    for action in actions:
        stream.step(action)
