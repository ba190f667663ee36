"""TD3 of a residual policy: the same frozen base and small corrections as ResiP's, learned from every step ever made.

ResiP learns on-policy and throws each episode away; with 1024 copies on a GPU that is cheap. Its authors' later work,
"Residual Off-Policy RL for Finetuning Behavior Cloning Policies" (arXiv 2509.19301), keeps them: a replay buffer,
returns over several steps and a critic with layer normalisation. This is that idea on stable-baselines3's TD3
(Fujimoto et al. 2018), without demonstrations in the buffer: tried once on round_table_lite, half of each batch from
them made the residual lose what its base could do. `penalty`, `rewarded` and `cautious` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch.nn.functional import mse_loss
from torch.optim.swa_utils import get_ema_multi_avg_fn

from embodkd.core.config.ranges import Whole
from embodkd.rl.checkpoint import load_slots, part, slots
from embodkd.rl.finite import check_loss, check_network
from embodkd.rl.residual.config import TD3Config
from embodkd.rl.residual.rewarded import KEPT, RewardedBuffer
from embodkd.rl.residual.stream import ResidualStream
from embodkd.rl.residual.td3_net import ResidualTD3Policy
from embodkd.rl.started import Started

ADVICE = "or lower td3.actor_rate or td3.critic_rate"


class ResidualTD3(TD3):
    """See TD3Config. total_steps: what the buffer must hold; nothing is ever forgotten."""

    STATE: ClassVar[Mapping[str, Any]] = {"updates": Whole}

    policy: ResidualTD3Policy
    replay_buffer: RewardedBuffer
    env: ResidualStream

    def __init__(self, env: ResidualStream, config: TD3Config, total_steps: int, seed: int = 0) -> None:
        self.config = config
        super().__init__(
            ResidualTD3Policy,
            env,
            learning_rate=config.actor_rate,
            buffer_size=total_steps + config.num_envs * config.steps,
            learning_starts=0,
            batch_size=config.batch_size,
            replay_buffer_class=RewardedBuffer,
            replay_buffer_kwargs={"n_steps": config.n_steps, "gamma": config.gamma, "share": config.rewarded},
            train_freq=config.steps,
            gradient_steps=max(1, config.num_envs * config.steps // config.every),
            policy_kwargs={
                "residual": env.policy,
                "cautious": config.cautious,
                "net_arch": {"pi": [], "qf": list(config.critic_hidden)},
                "optimizer_kwargs": {"fused": True},
            },
            seed=seed,
            device="cpu",
        )
        self._actor_weights = list(self.actor.parameters())
        self._leaders = [*self._actor_weights, *self.critic.parameters()]
        self._targets = [*self.actor_target.parameters(), *self.critic_target.parameters()]
        self._follow = get_ema_multi_avg_fn(1.0 - config.tau)
        self.started = Started(env.num_envs)
        # Ours reads the values back from the logger; nothing is printed or written by it.
        self.set_logger(Logger(folder=None, output_formats=[]))

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """The updates of one iteration; none before there is enough to learn from."""
        config, buffer = self.config, self.replay_buffer
        if self.num_timesteps >= config.warmup:
            waits = self.num_timesteps < config.warmup + config.critic_warmup
            self.actor.optimizer.param_groups[0]["lr"] = 0.0 if waits else config.actor_rate
            self.critic.optimizer.param_groups[0]["lr"] = config.critic_rate
            self.policy.set_training_mode(True)
            losses = [self._update(batch) for batch in buffer.batches(gradient_steps, batch_size)]
            check_network(self, ADVICE)
            self.logger.record("train/n_updates", self._n_updates)
            for name in ("critic_loss", "actor_loss"):
                found = [loss[name] for loss in losses if name in loss]
                if found:
                    self.logger.record(f"train/{name}", np.mean(found))
        recent = slice(max(0, buffer.pos - config.steps), buffer.pos)
        for reward_N, done_N in zip(buffer.rewards[recent], buffer.dones[recent], strict=True):
            self.started.step(reward_N, np.flatnonzero(done_N))
        if (told := self.started.told()) is not None:
            self.logger.record("rollout/ep_rew_mean", told[0])
        self.logger.record("train/correction", float(np.abs(buffer.actions[recent]).mean()))

    def _update(self, batch: ReplayBufferSamples) -> dict[str, float]:
        """One gradient step of both critics, and at every `policy_delay`-th of the actor and all targets: TD3 whole."""
        config, actor, critic = self.config, self.actor, self.critic
        obs, action_NA = batch.observations, batch.actions
        assert batch.discounts is not None, "rewards of several steps come with gamma to the power of their number"
        # What follows is worth the lower of both targets' values of a slightly noisy action.
        with torch.no_grad():
            noise_NA = torch.empty_like(action_NA).normal_(0, config.target_noise)
            noise_NA = noise_NA.clamp(-2 * config.target_noise, 2 * config.target_noise)
            next_NA = (self.actor_target(batch.next_observations) + noise_NA).clamp(-1, 1)
            next_value_N1 = torch.minimum(*self.critic_target(batch.next_observations, next_NA))
            target_N1 = batch.rewards + (1 - batch.dones) * batch.discounts * next_value_N1
        one_N1, other_N1 = critic(obs, action_NA)
        critic_loss = mse_loss(one_N1, target_N1) + mse_loss(other_N1, target_N1)
        check_loss(self, critic_loss, ADVICE)
        critic.optimizer.zero_grad()
        critic_loss.backward()
        critic.optimizer.step()
        self._n_updates += 1
        losses = {"critic_loss": critic_loss.item()}
        if self._n_updates % config.policy_delay:
            return losses
        # The actor climbs the first value, or the lower one, and pays for what it corrects.
        correction_NA = actor(obs)
        if config.cautious:
            value_N1 = torch.minimum(*critic(obs, correction_NA))
        else:
            value_N1 = critic.q1_forward(obs, correction_NA)
        price_N1 = config.penalty * correction_NA.square().mean(1, keepdim=True)
        actor_loss = -(value_N1 - price_N1).mean()
        check_loss(self, actor_loss, ADVICE)
        # the critics' own gradients would be thrown away
        weights = self._actor_weights
        for weight, gradient in zip(weights, torch.autograd.grad(actor_loss, weights), strict=True):
            weight.grad = gradient
        actor.optimizer.step()
        self._follow(self._targets, self._leaders, 0)
        return {**losses, "actor_loss": actor_loss.item()}

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(tensors, JSON state): networks, optimisers, all steps so far, the running episodes."""
        net, buffer = self.policy, self.replay_buffer
        tensors: dict[str, Any] = {f"net.{name}": value for name, value in net.state_dict().items()}
        tensors |= {**slots(net.actor.optimizer, "actor."), **slots(net.critic.optimizer, "critic.")}
        tensors |= {f"buffer.{name}": getattr(buffer, name)[: buffer.pos] for name in KEPT}
        tensors |= {f"env.{name}": value for name, value in self.env.state_dict().items()}
        tensors |= {f"started.{name}": values for name, values in self.started.state_dict().items()}
        return {**tensors, "seen": self._last_obs}, {"updates": self._n_updates}

    def restore(self, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        net = self.policy
        net.load_state_dict({n: torch.as_tensor(v) for n, v in part(tensors, "net.").items()})
        load_slots(net.actor.optimizer, part(tensors, "actor."))
        load_slots(net.critic.optimizer, part(tensors, "critic."))
        self.replay_buffer.take_over(part(tensors, "buffer."))
        self.env.load_state_dict(part(tensors, "env."))
        self.started.load_state_dict(part(tensors, "started."))
        self._last_obs = np.array(tensors["seen"])
        self._n_updates = state["updates"]

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        # noise around the base from the first step on, where stable-baselines3 would act at random
        with torch.no_grad():
            mean_NA = self.actor(torch.from_numpy(self._last_obs))
            action_NA = (mean_NA + self.config.noise * torch.randn_like(mean_NA)).clamp(-1.0, 1.0).numpy()
        return action_NA, action_NA
