"""Train a teacher (or improve a student) by PPO in a run folder: evaluated, best and last kept, resumable."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from embodkd.core import RunFolder
from embodkd.core.config.schema import build
from embodkd.core.ranks import ranks
from embodkd.envs import TaskSpec, seeds
from embodkd.envs.doors.sb3 import TaskVecEnv
from embodkd.policies import Policy, ResidualPolicy, check_task, load_policy, make_policy
from embodkd.rl.config import PPOConfig, TeacherConfig
from embodkd.rl.loop import Learned, Loop, worlds
from embodkd.rl.ppo import PPO
from embodkd.rl.whole import in_whole


def train_teacher(task: str, run: RunFolder, config: TeacherConfig, **options: Any) -> Learned:
    """Train a policy on `task`, made with `options` of make_task (engine and threads among them).

    Leaves `policy/` (best success on the fixed episodes, then best return) and `policy_last/` in the run folder. A
    run that was killed goes on from its last checkpoint and ends in the same bits. Several processes share out the
    copies of the task and the episodes that it is judged on; the first one owns the folder. ValueError for wrong
    settings or an `init` that does not fit the task.
    """
    ppo = build(PPOConfig, config.ppo, "ppo")
    ppo.check_steps(config.steps, "ppo.critic_warmup")
    if ppo.hold and config.init is None:
        raise ValueError(f"ppo.hold={ppo.hold} holds a policy to the one that it starts from: say init=, or ppo.hold=0")
    if ppo.orthogonal and config.init is not None:
        raise ValueError(f"ppo.orthogonal draws new weights, and those of init={config.init} were lost: say false")
    if not config.critic:
        raise ValueError("critic: name at least one group that it reads, as [proprio, privileged]")
    with worlds(task, ranks().split(ppo.num_envs, "ppo.num_envs"), config, options) as (world, judge):
        actor, lineage = _actor(world.spec, config)
        groups = world.spec.check_groups(tuple(dict.fromkeys((*actor.reads, *config.critic))))
        env = TaskVecEnv(world, groups, config.seed)
        learner = PPO(env, actor, tuple(config.critic), ppo, config.seed)
        # after stable-baselines3 has given the environments its own seed
        env.seed(seeds.training(config.seed, ppo.num_envs) + learner.copies.first)
        lineage = {"method": "ppo", "seed": config.seed, **lineage}
        rollouts = f"rollouts of {ppo.num_envs} copies x {ppo.n_steps} steps, two at least"
        whole = in_whole(config, ppo.whole(config.steps), rollouts, run)
        return Loop(learner, actor, judge, run, whole, lineage, {"ppo": asdict(ppo)}).learn(f"teacher {task}")


def _actor(spec: TaskSpec, config: TeacherConfig) -> tuple[Policy, dict[str, Any]]:
    if config.init is None:
        network = {"name": "mlp", **config.network}
        policy = make_policy(network.pop("name"), spec.groups, spec.action_size, **network)
        _check_one_action(policy, "network")
        return policy, {}
    policy, meta = load_policy(config.init)
    apart = check_task(policy, meta, spec, f"init={config.init}", config.transfer)
    _check_one_action(policy, f"init={config.init}")
    policy.normaliser.freeze()
    init: dict[str, Any] = {"policy": str(config.init), "lineage": meta["lineage"]}
    return policy, {"init": init | ({"transfer": list(apart)} if apart else {})}


def _check_one_action(policy: Policy, where: str) -> None:
    """ValueError for a policy that remembers what it planned: PPO rewards what is done in a state, for what is seen
    there."""
    if isinstance(policy, ResidualPolicy) or getattr(policy, "horizon", 1) > 1:
        raise ValueError(
            f"{where}: plans several actions at once and acts on what it planned, PPO asks for one action per state; "
            "what predicts chunks is corrected by: embodkd train residual base=..."
        )
