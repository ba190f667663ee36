"""PPO of a residual policy as in ResiP (arXiv 2407.16677), on stable-baselines3's PPO."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from embodkd.core.config.ranges import Whole
from embodkd.rl.advantages import clipped_loss, divergence_estimate, standardise, until_done
from embodkd.rl.checkpoint import load_slots, part, slots
from embodkd.rl.finite import check_loss, check_network, check_returns
from embodkd.rl.residual.config import ResidualPPOConfig, rate_factor
from embodkd.rl.residual.env import SEEN, ResidualEnv
from embodkd.rl.residual.net import ResidualActorCritic
from embodkd.rl.rollout_buffer import Minibatch, RolloutTensors

REWARD_LIMIT = 5.0
ADVICE = "or lower ppo.actor_rate or ppo.critic_rate"


class ResidualPPO(StockPPO):
    """Each iteration runs one whole episode in all copies, from fresh seeds, and learns from it: see ResidualPPOConfig.

    iterations: how many there will be, for the learning rates. Steps are counted as control steps of all copies.
    """

    STATE: ClassVar[Mapping[str, Any]] = {"iteration": Whole, "reward_statistics": tuple[float, float, float]}

    policy: ResidualActorCritic
    rollout_buffer: RolloutTensors

    def __init__(self, env: ResidualEnv, config: ResidualPPOConfig, iterations: int, seed: int = 0) -> None:
        self.config, self.iterations = config, iterations
        self.iteration = 0
        self.reward_statistics = RunningMeanStd()
        super().__init__(
            ResidualActorCritic,
            env,
            learning_rate=config.actor_rate,
            n_steps=env.decisions,
            batch_size=env.decisions * env.num_envs,
            n_epochs=config.epochs,
            gamma=config.gamma**env.policy.every,
            gae_lambda=config.gae_lambda,
            rollout_buffer_class=RolloutTensors,
            policy_kwargs={"residual": env.policy, "config": config},
            seed=seed,
            device="cpu",
        )
        # Ours reads the values back from the logger; nothing is printed or written by it.
        self.set_logger(Logger(folder=None, output_formats=[]))
        # An iteration begins with a reset of its own: stable-baselines3 need not do one.
        self._last_obs = {SEEN: env._seen_NS}

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(tensors, JSON state): weights, optimisers, statistics. No episode is running between iterations."""
        net, statistics = self.policy, self.reward_statistics
        tensors: dict[str, Any] = {f"net.{name}": value for name, value in net.state_dict().items()}
        tensors |= {**slots(net.optimizer, "actor."), **slots(net.critic_optimizer, "critic.")}
        rewards = [float(statistics.mean), float(statistics.var), float(statistics.count)]
        return tensors, {"iteration": self.iteration, "reward_statistics": rewards}

    def restore(self, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        net, statistics = self.policy, self.reward_statistics
        net.load_state_dict({n: torch.as_tensor(v) for n, v in part(tensors, "net.").items()})
        load_slots(net.optimizer, part(tensors, "actor."))
        load_slots(net.critic_optimizer, part(tensors, "critic."))
        mean, variance, statistics.count = state["reward_statistics"]
        statistics.mean, statistics.var = np.asarray(mean), np.asarray(variance)
        self.iteration = state["iteration"]

    @torch.no_grad()
    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """One episode in every copy; False if the callback asks to stop."""
        assert isinstance(rollout_buffer, RolloutTensors) and isinstance(env, ResidualEnv)
        buffer, net, config = rollout_buffer, self.policy, self.config
        callback.on_rollout_start()
        env.episode = self.iteration
        seen: Any = env.reset()
        noise_TNF = torch.randn_like(buffer.action_TNA) * net.log_std.exp()
        reward_TN = np.zeros(buffer.reward_TN.shape, np.float32)
        for t in range(self.n_steps):
            buffer.obs[SEEN][t].copy_(torch.from_numpy(seen[SEEN]))
            buffer.mean_TNA[t].copy_(net.actor(buffer.obs[SEEN][t]))
            torch.add(buffer.mean_TNA[t], noise_TNF[t], out=buffer.action_TNA[t])
            running_N = ~env.done_N
            seen, reward_TN[t], done_N, _ = env.step(buffer.action_TNA[t].numpy())
            buffer.reward_TN[t].copy_(torch.from_numpy(self._scaled(reward_TN[t], running_N)))
            buffer.done_TN[t].copy_(torch.from_numpy(done_N))
            if not callback.on_step():
                return False
        self.num_timesteps += self.n_envs * env.task.spec.max_steps
        buffer.value_TN.copy_(net.values(buffer.flat_obs).view_as(buffer.value_TN))
        buffer.log_prob_TN.copy_(net.log_prob(buffer.mean_TNA, buffer.action_TNA))
        last_value_N = torch.zeros(self.n_envs)
        if config.bootstrap:
            buffer.done_TN[-1].copy_(torch.from_numpy(env.done_N))
            last_value_N = net.values({SEEN: torch.from_numpy(seen[SEEN])})
        buffer.compute_advantages(last_value_N)
        check_returns(self, buffer, ADVICE)
        self.logger.record("rollout/ep_rew_mean", float(reward_TN.sum(0).mean()))
        self.logger.record("rollout/success_rate", float(env.success_N.mean()))
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """The updates of one iteration."""
        buffer, net, config = self.rollout_buffer, self.policy, self.config
        counted_TN = until_done(buffer.done_TN) if config.mask else torch.ones_like(buffer.done_TN, dtype=torch.bool)
        rows = counted_TN.flatten().nonzero().flatten()
        self._set_rates()
        sums, count = torch.zeros(4), 0
        size = -(-len(rows) // config.minibatches)
        epochs = (buffer.minibatches(size, buffer.advantage_TN, buffer.return_TN, rows) for _ in range(self.n_epochs))
        for batch in chain.from_iterable(epochs):
            found = self._step(batch)
            sums += found
            count += 1
            # Measured before the step, which counts all the same.
            if config.kl_stop is not None and found[0] > config.kl_stop:
                break
        means = (sums / count).tolist()
        check_network(self, ADVICE)
        self.iteration += 1
        names = ("kl", "policy_loss", "value_loss", "clip_fraction")
        facts = {
            "updates": count,
            "counted_share": len(rows) / counted_TN.numel(),
            "correction": buffer.mean_TNA[counted_TN].abs().mean().item(),
            "std": net.log_std.detach().exp().mean().item(),
            "learning_rate": net.optimizer.param_groups[0]["lr"],
        }
        for name, value in {**dict(zip(names, means, strict=True)), **facts}.items():
            self.logger.record(f"train/{name}", value)

    def _step(self, batch: Minibatch) -> Tensor:
        """One gradient step; returns (KL before it, policy loss, value loss, clipped fraction), detached."""
        net, config = self.policy, self.config
        mean_NF, value_N = net.means_and_values(batch.obs)
        log_ratio_N = net.log_prob(mean_NF, batch.action_NA) - batch.log_prob_N
        loss_N, clipped_N = clipped_loss(standardise(batch.advantage_N), log_ratio_N.exp(), config.clip)
        value_loss = 0.5 * (value_N - batch.return_N).square().mean()
        loss = config.value_weight * value_loss
        if self.iteration >= config.critic_warmup:
            loss = loss + loss_N.mean() - config.entropy * net.entropy()
            if config.stay:
                away_N = 0.5 * (mean_NF / net.log_std.exp()).square().sum(1)
                loss = loss + config.stay * away_N.mean()
        check_loss(self, loss, ADVICE)
        net.optimizer.zero_grad()
        net.critic_optimizer.zero_grad()
        loss.backward()
        both = [*net.actor_parameters, *net.critic_parameters]
        torch.nn.utils.clip_grad_norm_(both, config.max_grad_norm, foreach=True)
        net.optimizer.step()
        net.critic_optimizer.step()
        kl = divergence_estimate(log_ratio_N)
        return torch.stack([kl, loss_N.mean(), value_loss, clipped_N.float().mean()]).detach()

    def _set_rates(self) -> None:
        net, config = self.policy, self.config
        for optimiser, rate, warmup in (
            (net.optimizer, config.actor_rate, config.actor_warmup),
            (net.critic_optimizer, config.critic_rate, 0),
        ):
            optimiser.param_groups[0]["lr"] = rate * rate_factor(self.iteration, self.iterations, warmup)

    def _scaled(self, reward_N: np.ndarray, running_N: np.ndarray) -> np.ndarray:
        """Rewards as the critic gets them."""
        if not self.config.normalise_rewards:
            return reward_N
        counted = reward_N[running_N] if self.config.mask else reward_N
        if counted.size:
            self.reward_statistics.update(counted)
        scaled_N = reward_N / np.sqrt(self.reward_statistics.var + 1e-8)
        return np.clip(scaled_N, -REWARD_LIMIT, REWARD_LIMIT).astype(np.float32)
