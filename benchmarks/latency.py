"""What a decision of ResiP's bases costs one robot on one core, and the base's share of the residual's training loop.

Latency does not depend on what the weights are: none is trained here.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from embodkd.envs import make_task
from embodkd.policies import ChunkPolicy, make_policy, residual_on

from benchmarks.measure import Contender, Line, Sample, median_interval, ratios, summary, take_turns
from embodkd.rl.residual.config import TD3Config
from embodkd.rl.residual.stream import ResidualStream
from embodkd.rl.residual.td3 import ResidualTD3

COMMAND = "python -m benchmarks latency"
TASK, CALLS = "peg_assembly", 20
# as in the table `bases` of configs/systems/resip.yaml
NETWORK: dict[str, Any] = {
    "vectors": ("proprio", "privileged", "relations"),
    "horizon": 16,
    "widths": (32, 64, 128),
}
# Calls of the network in one decision: 4, 3 (a warm start skips the noisiest level), 16, 1.
BASES: dict[str, dict[str, Any]] = {
    "DDIM, 4 steps": {"warm_start": "cold"},
    "DDIM, 4 steps, warm": {},
    "DDIM, 16 steps": {"warm_start": "cold", "steps": 16},
    "one step": {"steps": 1},
    "one step, a level less": {"steps": 1, "widths": (64, 128)},
}
COPIES, ITERATIONS = 64, 5


def lines() -> list[Line]:
    """Three ratios of latencies, decisions per second, and the share of the loop."""
    task = make_task(TASK, 1, threads=1)
    task.reset(np.arange(1))
    obs = task.observe(NETWORK["vectors"])

    def decide(policy: ChunkPolicy) -> None:
        rows = policy.tensors(obs)
        with policy.acting():
            for _ in range(CALLS):
                beginning = policy.beginning(rows)
                # in the midst of an episode, as most decisions are
                policy.chunk(rows, beginning._replace(begins_N=~beginning.begins_N))

    bases = {name: _base(task.spec.groups, settings) for name, settings in BASES.items()}
    samples = take_turns({name: Contender(partial(decide, base)) for name, base in bases.items()})
    details = summary(samples, CALLS) | {"unit_of_rates": "decisions", "task": TASK}
    found = [
        _ratio("one step / DDIM base", samples, ("one step", "DDIM, 4 steps"), details),
        _ratio("one step / DDIM base, warm", samples, ("one step", "DDIM, 4 steps, warm"), details),
        _ratio("one small step / DDIM base, warm", samples, ("one step, a level less", "DDIM, 4 steps, warm"), details),
    ]
    value, interval = median_interval([CALLS / sample.wall for sample in samples["one step"]])
    found.append(Line("one-step base, one core", value, interval, "Hz", ">=", 100.0, COMMAND, details))
    return [*found, _share(bases["DDIM, 4 steps, warm"])]


def _base(groups: Any, settings: dict[str, Any]) -> ChunkPolicy:
    policy = make_policy("diffusion", groups, 10, **(NETWORK | settings))
    assert isinstance(policy, ChunkPolicy)
    return policy


def _ratio(name: str, samples: dict[str, list[Sample]], pair: tuple[str, str], details: dict[str, Any]) -> Line:
    value, interval = median_interval(ratios(*(samples[one] for one in pair), "wall"))
    return Line(name, value, interval, "x wall", "<=", 0.333, COMMAND, details)


def _share(base: ChunkPolicy) -> Line:
    """The base's share of the time of TD3's iterations, updates included, once learning has begun."""
    torch.manual_seed(0)
    actor = residual_on(base, alpha=0.2, bounded=True)
    config = TD3Config(num_envs=COPIES, warmup=0)
    stream = ResidualStream(make_task(TASK, COPIES, threads=1), actor)
    learner = ResidualTD3(stream, config, (ITERATIONS + 1) * COPIES * config.steps)
    session, spent = stream._session, 0.0
    ask = session.next_base

    def timed(*arguments: Any) -> np.ndarray:
        nonlocal spent
        start = time.perf_counter()
        answer = ask(*arguments)
        spent += time.perf_counter() - start
        return answer

    session.next_base = timed  # type: ignore[method-assign]
    learner.learn(1, log_interval=None)
    shares = []
    for _ in range(ITERATIONS):
        spent, start = 0.0, time.perf_counter()
        learner.learn(1, log_interval=None, reset_num_timesteps=False)
        shares.append(spent / (time.perf_counter() - start))
    value, interval = median_interval(shares)
    details = {"copies": COPIES, "task": TASK, "shares": shares}
    return Line("DDIM base / residual's loop", value, interval, "x wall", "<=", 0.35, COMMAND, details)
