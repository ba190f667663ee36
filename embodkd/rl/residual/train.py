"""Train a residual policy on a frozen base in a run folder: evaluated, best and last kept, resumable."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from embodkd.core import RunFolder
from embodkd.core.config.schema import build
from embodkd.envs import TaskSpec, seeds
from embodkd.policies import ChunkPolicy, ResidualPolicy, check_task, load_policy, residual_on
from embodkd.rl.loop import Learned, Loop, worlds
from embodkd.rl.residual.config import ResidualConfig, ResidualPPOConfig, TD3Config
from embodkd.rl.residual.env import ResidualEnv
from embodkd.rl.residual.ppo import ResidualPPO
from embodkd.rl.residual.stream import ResidualStream
from embodkd.rl.residual.td3 import ResidualTD3
from embodkd.rl.whole import in_whole


def train_residual(task: str, run: RunFolder, config: ResidualConfig, **options: Any) -> Learned:
    """Correct a policy on `task`, made with `options` of make_task (engine and threads among them).

    The sum is judged before the first iteration, where it equals the base, and then every `evaluate_every` steps.
    Leaves `policy/` (best success on the fixed episodes, then best return) and `policy_last/` in the run folder: base
    and residual in one. A run that was killed goes on from its last checkpoint and ends in the same bits. ValueError
    for wrong settings or a base that does not fit the task.
    """
    settings: TD3Config | ResidualPPOConfig
    if config.learner == "ppo":
        settings = build(ResidualPPOConfig, config.ppo, "ppo")
    else:
        settings = build(TD3Config, config.td3, "td3")
    with worlds(task, settings.num_envs, config, options) as (world, judge):
        if config.end_when_lost:
            world.end_when_lost()
        actor, origin = _on_base(world.spec, config)
        learner: ResidualPPO | ResidualTD3
        if isinstance(settings, ResidualPPOConfig):
            # learning rates fall over whole iterations, an episode in each copy
            iteration = settings.num_envs * world.spec.max_steps
            iterations = max(1, config.steps // iteration)
            settings.check_iterations(iterations, iteration)
            steps = iterations * iteration
            rollouts = f"episodes of {settings.num_envs} copies x {world.spec.max_steps} steps, one at least"
            learner = ResidualPPO(ResidualEnv(world, actor, settings, config.seed), settings, iterations, config.seed)
        else:
            settings.check_steps(config.steps)
            steps = settings.whole(config.steps)
            rollouts = f"rollouts of {settings.num_envs} copies x {settings.steps} steps"
            env = ResidualStream(world, actor)
            learner = ResidualTD3(env, settings, steps, config.seed)
            # after stable-baselines3 has given the environments its own seed
            env.seed(seeds.training(config.seed, settings.num_envs))
        lineage = {"method": "resip", "learner": config.learner, "seed": config.seed, "base": origin}
        whole = in_whole(config, steps, rollouts, run)
        loop = Loop(learner, actor, judge, run, whole, lineage, {config.learner: asdict(settings)})
        if learner.num_timesteps == 0:
            run.log(0, **loop.look())
        return loop.learn(f"residual {task}")


def _on_base(spec: TaskSpec, config: ResidualConfig) -> tuple[ResidualPolicy, dict[str, Any]]:
    base, meta = load_policy(config.base)
    apart = check_task(base, meta, spec, f"base={config.base}", config.transfer)
    if not isinstance(base, ChunkPolicy):
        raise ValueError(
            f"base={config.base}: a {meta['policy']} predicts no chunks of actions; make one from demonstrations with "
            "student=diffusion or student=mlp_chunk"
        )
    actor = residual_on(base, **dict(config.residual), bounded=config.learner == "td3")
    origin = {"policy": str(config.base), "lineage": meta["lineage"]}
    return actor, origin | ({"transfer": list(apart)} if apart else {})
