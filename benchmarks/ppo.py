"""PPO from nothing to 90 % on PegHole: our teacher training against stable-baselines3's PPO as shipped.

The opponent runs on its own SubprocVecEnv of the same task with VecNormalize, with the batch size, network, rate,
discount and initial noise of ours (with its own defaults it learns slower); its workers start before its clock does.
Both are judged alike, every ``EVERY`` steps by the same 64 episodes until two in a row say 90 %, on their clocks, or
for ``MOST`` steps: where the opponent is not there by then the ratio is an upper bound, and where we are not it is
infinite.  Each run is a process of its own: `python -m benchmarks.ppo NAME SEED` prints one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.measure import Line, Sample, cpu_seconds, median_interval, ratios, summary

COMMAND = "python -m benchmarks ppo"
TASK, GROUPS = "peg_hole", ("proprio", "privileged")
GOAL, EVERY, MOST = 0.9, 8192, 500_000  # success share; control steps between evaluations and in all
SEEDS = range(7)
WORKERS, BATCH = 16, 4096


def lines(seeds: Sequence[int] = SEEDS) -> list[Line]:
    """Two lines: the ratios of CPU and of wall time, seed by seed."""
    runs: dict[str, list[dict[str, Any]]] = {"embodkd": [], "sb3 PPO": []}
    for seed in seeds:
        for name, taken in runs.items():
            taken.append(_in_a_process(name, seed))
    return [_line(seeds, runs, "cpu", 0.25), _line(seeds, runs, "wall", None)]


def _line(
    seeds: Sequence[int], runs: dict[str, list[dict[str, Any]]], clock: Literal["cpu", "wall"], target: float | None
) -> Line:
    samples = {name: [Sample(run["cpu"], run["wall"]) for run in taken] for name, taken in runs.items()}
    found = ratios(samples["embodkd"], samples["sb3 PPO"], clock)
    # a training of ours that never got there must not look fast
    found = [ratio if run["reached"] else float("inf") for ratio, run in zip(found, runs["embodkd"], strict=True)]
    value, interval = median_interval(found)
    details = summary(samples, 1.0) | {"unit_of_rates": "trainings", "seeds": list(seeds)}
    details |= {
        "ratios": [round(ratio, 3) for ratio in found],
        "steps": {name: [run["steps"] for run in taken] for name, taken in runs.items()},
        "reached": {name: [run["reached"] for run in taken] for name, taken in runs.items()},
    }
    return Line(f"PPO to 90 % / SB3's PPO, {clock}", value, interval, f"x {clock}", "<=", target, COMMAND, details)


def _in_a_process(name: str, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ppo", name, str(seed)]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{child.stderr}")
    return json.loads(child.stdout.splitlines()[-1])


def _ours(seed: int) -> dict[str, Any]:
    from embodkd.core import RunFolder
    from embodkd.rl.config import TeacherConfig
    from embodkd.rl.train import train_teacher

    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = cpu_seconds(), time.perf_counter()
        with RunFolder.open(Path(folder) / "run", {"seed": seed}, resume=False) as run:
            config = TeacherConfig(seed=seed, steps=MOST, target=GOAL, evaluate_every=EVERY, quiet=True)
            end = train_teacher(TASK, run, config)
        spent = {"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - wall}
    return spent | {"steps": end.steps, "reached": end.stopped_early}


def _theirs(seed: int) -> dict[str, Any]:
    import numpy as np
    import torch
    from embodkd.envs import make_task
    from embodkd.envs.doors.gym import TaskEnv
    from embodkd.envs.seeds import LEARNING_JUDGE
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

    from embodkd.rl.config import PPOConfig

    torch.set_num_threads(1)
    workers = SubprocVecEnv([lambda: TaskEnv(TASK, groups=GROUPS, threads=1)] * WORKERS, start_method="fork")
    pids = [process.pid for process in workers.processes]
    cpu, wall = cpu_seconds(pids), time.perf_counter()
    same = PPOConfig()
    env = VecNormalize(workers, gamma=same.gamma)
    judge = make_task(TASK, 64)

    class Judge(BaseCallback):
        hits, evaluations = 0, 0

        def _on_step(self) -> bool:
            if self.num_timesteps // EVERY == self.evaluations:
                return True
            self.evaluations = self.num_timesteps // EVERY
            judge.reset(np.arange(64) + LEARNING_JUDGE)
            for _ in range(judge.spec.max_steps):
                obs = env.normalize_obs(judge.observe(GROUPS))
                step = judge.step(self.model.predict(obs, deterministic=True)[0])
            self.hits = self.hits + 1 if step.info["is_success"].mean() >= GOAL else 0
            return self.hits < 2

    network = {"pi": [128, 128], "vf": [128, 128]}
    model = PPO(
        "MultiInputPolicy",
        env,
        n_steps=BATCH // WORKERS,
        batch_size=same.minibatch,
        n_epochs=same.epochs,
        gamma=same.gamma,
        gae_lambda=same.gae_lambda,
        learning_rate=same.learning_rate,
        policy_kwargs={"net_arch": network, "activation_fn": torch.nn.ELU, "log_std_init": np.log(same.init_std)},
        seed=seed,
        device="cpu",
    )
    callback = Judge()
    model.learn(MOST, callback=callback)
    spent = {"cpu": cpu_seconds(pids) - cpu, "wall": time.perf_counter() - wall}
    workers.close()
    return spent | {"steps": model.num_timesteps, "reached": callback.hits >= 2}


if __name__ == "__main__":
    print(json.dumps({"embodkd": _ours, "sb3 PPO": _theirs}[sys.argv[1]](int(sys.argv[2]))))
