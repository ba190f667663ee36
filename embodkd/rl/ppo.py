"""stable-baselines3's PPO with a batched collection loop and the changes that the dexterous hand needs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from embodkd.core.batch.sums import sum_gradients
from embodkd.core.config.ranges import Whole
from embodkd.core.ranks import ranks
from embodkd.envs.doors.sb3 import TaskVecEnv
from embodkd.policies import Policy
from embodkd.rl.actor_critic import ActorCritic
from embodkd.rl.advantages import clipped_loss
from embodkd.rl.checkpoint import load_slots, part, slots
from embodkd.rl.config import PPOConfig
from embodkd.rl.finite import check_loss, check_network, check_returns
from embodkd.rl.rollout_buffer import Minibatch, RolloutTensors
from embodkd.rl.shared import Copies, standardised, total
from embodkd.rl.started import Started

RATE_RANGE = (1e-5, 1e-2)
RATE_STEP = 1.5
ADVICE = "lower ppo.learning_rate or set ppo.kl_target"
# (step, copies, their last observations)
Cut = tuple[int, Tensor, dict[str, Tensor]]


class PPO(StockPPO):
    """PPO (Schulman et al. 2017) of one actor on a task's stream of episodes.

    What differs from the parent: the stream's arrays are used as they are, without a Python loop over copies; values
    are computed once per iteration; observation statistics belong to the networks and only change between iterations,
    so old and new policy agree exactly at the first minibatch; the switches of PPOConfig; and several processes, each
    with its own `env`, make the same updates of the copies of all.
    """

    STATE: ClassVar[Mapping[str, Any]] = {"rates": list[float], "iteration": Whole, "primed": bool}

    policy: ActorCritic
    rollout_buffer: RolloutTensors

    def __init__(
        self, env: TaskVecEnv, actor: Policy, critic_groups: tuple[str, ...], config: PPOConfig, seed: int = 0
    ) -> None:
        if not isinstance(env, TaskVecEnv):
            found = type(env).__name__
            raise ValueError(f"this PPO collects from a TaskVecEnv, got {found}; for others use stable-baselines3's")
        self.config, self.stream = config, env.stream
        self.start = copy.deepcopy(actor).requires_grad_(False).eval() if config.hold else None
        self.primed = False
        self.iteration = 0
        self.copies = Copies.of(env.num_envs)
        self.started = Started(self.copies.total)
        super().__init__(
            ActorCritic,
            env,
            learning_rate=config.learning_rate,
            n_steps=config.n_steps,
            batch_size=config.minibatch,
            n_epochs=config.epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip,
            ent_coef=config.entropy,
            vf_coef=config.value_weight,
            max_grad_norm=config.max_grad_norm,
            rollout_buffer_class=RolloutTensors,
            policy_kwargs={
                "actor": actor,
                "groups": env.stream.task.spec.groups,
                "critic_groups": critic_groups,
                "config": config,
            },
            seed=seed,
            device="cpu",
        )
        # Ours reads the values back from the logger; nothing is printed or written by it.
        self.set_logger(Logger(folder=None, output_formats=[]))

    @property
    def rate(self) -> float:
        """The actor's learning rate now."""
        return self.policy.optimizer.param_groups[0]["lr"]

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(tensors, JSON state): weights, optimiser, statistics, running episodes, those of all processes."""
        assert isinstance(self._last_obs, dict), "a checkpoint is taken between iterations"
        net = self.policy
        tensors: dict[str, Any] = {f"net.{name}": value for name, value in net.state_dict().items()}
        own = {f"stream.{name}": np.asarray(value) for name, value in self.stream.state_dict().items()}
        # Kept although the stream could observe again: a quantity of the engine's last step need not come back.
        own |= {f"obs.{name}": value for name, value in self._last_obs.items()}
        for rank, of_rank in enumerate(ranks().gather(own)):
            tensors |= {f"{_place(rank)}{name}": value for name, value in of_rank.items()}
        tensors |= {f"started.{name}": values for name, values in self.started.state_dict().items()}
        tensors |= slots(net.optimizer, "optimiser.")
        rates = [group["lr"] for group in net.optimizer.param_groups]
        return tensors, {"rates": rates, "iteration": self.iteration, "primed": self.primed}

    def restore(self, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Go on from a snapshot; ValueError for one of another number of processes."""
        places = {name.partition(".")[0] for name in tensors if name.startswith("rank")}
        if len(places) + 1 != ranks().size:
            raise ValueError(f"was trained by {len(places) + 1} processes and goes on with as many, not {ranks().size}")
        self.policy.load_state_dict({n: torch.as_tensor(v) for n, v in part(tensors, "net.").items()})
        for group, rate in zip(self.policy.optimizer.param_groups, state["rates"], strict=True):
            group["lr"] = rate
        load_slots(self.policy.optimizer, part(tensors, "optimiser."))
        place = _place(ranks().rank if ranks().size > 1 else 0)
        self.stream.load_state_dict(part(tensors, f"{place}stream."))
        self._last_obs = part(tensors, f"{place}obs.")
        self.started.load_state_dict(part(tensors, "started."))
        self.iteration, self.primed = state["iteration"], state["primed"]

    @torch.no_grad()
    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer; False if the callback asks to stop."""
        assert isinstance(rollout_buffer, RolloutTensors)
        buffer, net = rollout_buffer, self.policy
        net.set_training_mode(False)
        if not self.primed:
            # Statistics from the first steps, which are not learned from: their policy saw other statistics.
            self._run(callback, buffer)
            net.update_statistics(buffer.flat_obs)
            self.primed = True
        callback.on_rollout_start()
        finished = self._run(callback, buffer)
        if finished is None:
            return False
        buffer.value_TN.copy_(net.values(buffer.flat_obs).view_as(buffer.value_TN))
        buffer.log_prob_TN.copy_(net.log_prob(buffer.mean_TNA, buffer.action_TNA))
        for t, ids, final_obs in finished:
            buffer.reward_TN[t, ids] += self.gamma * net.values(final_obs)
        buffer.compute_advantages(net.values(_tensors(self._last_obs)))
        check_returns(self, buffer, ADVICE)
        callback.on_rollout_end()
        return True

    def _run(self, callback: BaseCallback, buffer: RolloutTensors) -> list[Cut] | None:
        """Act for the buffer's length; returns the episodes cut off by time, None if the callback stopped it."""
        net = self.policy
        cut: list[Cut] = []
        buffer.log_std_A = net.log_std.detach().clone()
        noise_TNA = self.copies.noise(*buffer.action_TNA.shape[::2]) * net.log_std.exp()
        ended: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for t in range(self.n_steps):
            obs = _tensors(self._last_obs)
            for name, rows in buffer.obs.items():
                rows[t].copy_(obs[name])
            buffer.mean_TNA[t].copy_(net.actor(obs))
            torch.add(buffer.mean_TNA[t], noise_TNA[t], out=buffer.action_TNA[t])
            step = self.stream.step(buffer.action_TNA[t].numpy())
            self._last_obs = step.obs
            self.num_timesteps += self.copies.total
            if not callback.on_step():
                return None
            buffer.reward_TN[t].copy_(torch.from_numpy(step.reward))
            buffer.done_TN[t].copy_(torch.from_numpy(step.terminated | step.truncated))
            over_N = np.isin(np.arange(self.n_envs), step.final_ids)
            ended.append((step.reward.copy(), over_N, step.info["is_success"].copy()))
            if len(step.final_ids):
                timed_out = ~step.terminated[step.final_ids]
                final_obs = {name: torch.from_numpy(rows[timed_out]) for name, rows in step.final_obs.items()}
                cut.append((t, torch.from_numpy(step.final_ids[timed_out]), final_obs))
        told_by_all = (self.copies.joined(np.stack(column)) for column in zip(*ended, strict=True))
        for reward_N, over_N, success_N in zip(*told_by_all, strict=True):
            self.started.step(reward_N, np.flatnonzero(over_N), success_N)
        if (told := self.started.told()) is not None:
            self.logger.record("rollout/ep_rew_mean", told[0])
            self.logger.record("rollout/success_rate", told[1])
        return cut

    def train(self) -> None:
        """One iteration of updates, then the observation statistics, then the actor's rate."""
        buffer, net, config = self.rollout_buffer, self.policy, self.config
        advantage_TN = standardised(buffer.advantage_TN) if config.batch_advantages else buffer.advantage_TN
        if config.normalise_values:
            net.update_return_statistics(buffer.return_TN.flatten())
        standard_return_TN = net.standard_returns(buffer.return_TN)
        losses = torch.zeros(3)
        count = 0
        for _ in range(self.n_epochs):
            for batch in buffer.minibatches(self.batch_size, advantage_TN, standard_return_TN, copies=self.copies):
                losses += self._step(batch)
                count += 1
        check_network(self, ADVICE)
        with torch.no_grad():
            kl = self._divergence()
        self._adapt(kl)
        net.update_statistics(buffer.flat_obs)
        self.iteration += 1
        self._n_updates += self.n_epochs
        policy_loss, value_loss, clipped = (losses / count).tolist()
        for name, value in {
            "kl": kl,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "clip_fraction": clipped,
            "std": net.log_std.exp().mean().item(),
            "learning_rate": self.rate,
        }.items():
            self.logger.record(f"train/{name}", value)

    def _step(self, batch: Minibatch) -> Tensor:
        """One gradient step; returns (policy loss, value loss, clipped fraction), detached."""
        net, config = self.policy, self.config
        advantage_N = batch.advantage_N if config.batch_advantages else standardised(batch.advantage_N)
        mean_NA, value_N = net.actor(batch.obs), net.standard_values(batch.obs)
        ratio_N = (net.log_prob(mean_NA, batch.action_NA) - batch.log_prob_N).exp()
        loss_N, clipped_N = clipped_loss(advantage_N, ratio_N, config.clip)
        policy_loss = _mean(loss_N, batch.whole)
        value_loss = _mean((batch.return_N - value_N).square(), batch.whole)
        loss = self.vf_coef * value_loss
        if self.iteration >= config.critic_warmup:
            loss = loss + policy_loss
            if config.entropy:
                loss = loss - config.entropy * net.entropy() * (len(loss_N) / batch.whole)
            if hold := config.hold_at(self.iteration):
                loss = loss + hold * _mean(self._away(mean_NA, batch.obs), batch.whole)
        losses = torch.stack([policy_loss, value_loss, _mean(clipped_N.float(), batch.whole), loss]).detach()
        if not self.copies.shared:
            check_loss(self, loss, ADVICE)
        net.optimizer.zero_grad()
        loss.backward()
        if self.copies.shared:
            losses = sum_gradients([*net.actor_parameters, *net.critic_parameters], losses)
            check_loss(self, losses[-1], ADVICE)
        if config.split_clip:
            torch.nn.utils.clip_grad_norm_(net.actor_parameters, self.max_grad_norm, foreach=True)
            torch.nn.utils.clip_grad_norm_(net.critic_parameters, self.max_grad_norm, foreach=True)
        else:
            both = [*net.actor_parameters, *net.critic_parameters]
            torch.nn.utils.clip_grad_norm_(both, self.max_grad_norm, foreach=True)
        net.optimizer.step()
        return losses[:3]

    def _away(self, mean_NA: Tensor, obs: Mapping[str, Tensor]) -> Tensor:
        """KL divergence (N,) of the actor from the one that it was at the start, both with today's deviations."""
        assert self.start is not None
        with torch.no_grad():
            start_NA, std_A = self.start(obs), self.policy.log_std.exp()
        return 0.5 * ((mean_NA - start_NA) / std_A).square().sum(-1)

    def _divergence(self) -> float:
        """KL(old policy || new policy), mean over the iteration's observations, those of all processes."""
        buffer, net = self.rollout_buffer, self.policy
        log_std_A, old_log_std_A = net.log_std, buffer.log_std_A
        mean_NA = net.actor(buffer.flat_obs)
        gap_NA = (mean_NA - buffer.mean_TNA.flatten(0, 1)).square() + (2 * old_log_std_A).exp()
        kl_NA = log_std_A - old_log_std_A + 0.5 * gap_NA * (-2 * log_std_A).exp() - 0.5
        kl_N = kl_NA.sum(-1)
        return total(_mean(kl_N, len(buffer.reward_TN) * self.copies.total)).item()

    def _adapt(self, kl: float) -> None:
        """Move the actor's rate (and the critic's, if it has none of its own) so that KL stays near its target."""
        target = self.config.kl_target
        if target is None or self.iteration < self.config.critic_warmup or 0.5 * target <= kl <= 2.0 * target:
            return
        rate = self.rate / RATE_STEP if kl > target else self.rate * RATE_STEP
        rate = min(max(rate, RATE_RANGE[0]), RATE_RANGE[1])
        groups = self.policy.optimizer.param_groups
        for group in groups if self.config.critic_rate is None else groups[:1]:
            group["lr"] = rate


def _mean(value_N: Tensor, whole: int) -> Tensor:
    """This process's part of the mean over `whole` rows, of which it has these."""
    return value_N.mean() if len(value_N) == whole else value_N.sum() / whole


def _place(rank: int) -> str:
    """Before the names of what a process has of its own: a checkpoint of one process names none."""
    return f"rank{rank}." if rank else ""


def _tensors(obs: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in obs.items()}
