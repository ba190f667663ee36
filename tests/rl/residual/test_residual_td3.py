"""TD3 on a frozen base: it starts as the base, leaves it alone, learns what the base lacks."""

import copy

import numpy as np
import pytest
import torch
from embodkd.policies import residual_on
from learning import weights
from reach_task import Reach
from residual_parts import learn, make_base
from stable_baselines3 import TD3
from torch import nn

from embodkd.rl.loop import success_and_return
from embodkd.rl.residual.config import TD3Config
from embodkd.rl.residual.stream import ResidualStream
from embodkd.rl.residual.td3 import ResidualTD3

SMALL = {"num_envs": 16, "steps": 12, "every": 4, "batch_size": 64, "warmup": 192, "critic_warmup": 192}


class Paid(Reach):
    """Each step earns a twelfth and joining another 1: an episode comes to 1 if it fails, else to 2 at most."""

    def _advance(self, actions):
        reward_N, *rest = super()._advance(actions)
        return reward_N + 1 / 12, *rest


def make_learner(base=None, total_steps=20_000, seed=0, alpha=0.3, task=Reach, **settings):
    torch.manual_seed(seed)
    policy = residual_on(base or make_base(), alpha=alpha, bounded=True)
    config = TD3Config(**{**SMALL, **settings})
    env = ResidualStream(task(config.num_envs), policy)
    learner = ResidualTD3(env, config, total_steps, seed)
    env.seed(1000 + seed)
    return learner


def test_learns_what_the_base_lacks_and_leaves_the_base_alone():
    base = make_base(fitted=True)
    learner = make_learner(base, actor_rate=1e-3, critic_rate=1e-3, tau=0.05)
    policy, task = learner.env.policy, Reach(64)
    before, frozen = success_and_return(base, task)[0], weights(policy.base)
    assert success_and_return(policy, task)[0] == before < 0.5
    learn(learner, 24)
    assert success_and_return(policy, task)[0] > 0.95
    assert torch.equal(weights(policy.base), frozen)


def test_nothing_moves_before_the_warm_up_and_the_actor_waits_for_the_critic():
    learner = make_learner()
    head, critic = learner.env.policy.head, learner.critic
    start, first = weights(head), weights(critic)
    learn(learner, 1)
    assert learner.num_timesteps == 192 and learner._n_updates == 48
    assert not torch.equal(weights(critic), first) and torch.equal(weights(head), start)
    learn(learner, 1)
    assert not torch.equal(weights(head), start)


def test_the_actor_is_the_head_and_its_target_a_copy():
    learner = make_learner()
    assert learner.actor.mu[0] is learner.env.policy.head
    assert learner.actor_target.mu[0] is not learner.env.policy.head
    assert torch.equal(weights(learner.actor_target), weights(learner.actor))
    norms = [m for m in learner.critic.modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 2 * len(learner.config.critic_hidden)
    assert {id(p) for p in learner.critic.optimizer.param_groups[0]["params"]} == {
        id(p) for p in learner.critic.parameters()
    }


def test_a_cautious_critic_believes_nothing_of_a_correction_before_it_has_seen_any():
    learner = make_learner(cautious=True)
    seen_NS = torch.rand(7, learner.env.policy.seen_size)
    for other in (torch.zeros(7, 10), torch.rand(7, 10)):
        for one, two in zip(learner.critic(seen_NS, torch.ones(7, 10)), learner.critic(seen_NS, other), strict=True):
            assert torch.equal(one, two)


def test_without_our_additions_it_is_stable_baselines3s_td3():
    """The same weights after the same iterations of the parent's own updates, up to how the targets' means round."""
    ours, stock = (make_learner(penalty=0.0, policy_delay=3, critic_warmup=0) for _ in range(2))
    config, generator = stock.config, (torch.get_rng_state(), np.random.get_state())
    # what the parent reads in place of our settings
    stock.tau, stock.policy_delay = config.tau, config.policy_delay
    stock.target_policy_noise, stock.target_noise_clip = config.target_noise, 2 * config.target_noise
    stock.critic.optimizer.param_groups[0]["lr"] = config.critic_rate
    stock._update_learning_rate = lambda optimisers: None

    def train(gradient_steps, batch_size):
        # the parent asks for one batch after the other; the same ones
        batches = stock.replay_buffer.batches(gradient_steps, batch_size)
        stock.replay_buffer.sample = lambda *_, **__: next(batches)
        TD3.train(stock, gradient_steps, batch_size)

    stock.train = train
    for learner in (ours, stock):
        torch.set_rng_state(generator[0])
        np.random.set_state(generator[1])
        learn(learner, 2)
    assert ours._n_updates == stock._n_updates == 96
    torch.testing.assert_close(weights(ours.policy), weights(stock.policy), rtol=1e-5, atol=1e-6)
    assert not torch.equal(weights(ours.actor), weights(make_learner().actor))


@pytest.mark.parametrize("cautious", [False, True])
def test_the_actor_climbs_one_value_less_the_mean_square_of_its_corrections(cautious):
    learner = learn(make_learner(penalty=0.5, cautious=cautious, actor_rate=1e-3, policy_delay=1), 2)
    batch = learner.replay_buffer.sample(32)
    before = copy.deepcopy(learner.actor)
    found = learner._update(batch)
    # the critics have moved before the actor looks at them, and the actor's loss is of what it was before its step
    correction_NA = before(batch.observations)
    values = learner.critic(batch.observations, correction_NA)
    climbed_N1 = torch.minimum(*values) if cautious else values[0]
    price_N = 0.5 * correction_NA.square().sum(1) / 10
    assert found["actor_loss"] == pytest.approx(-(climbed_N1[:, 0] - price_N).mean().item(), abs=1e-6)
    assert not torch.equal(weights(before), weights(learner.actor))


def test_stored_steps_are_what_happened():
    """Rewards only where an episode ended well, and the last state of an episode is its own, not the next one's."""
    learner = learn(make_learner(make_base(fitted=True), warmup=100_000), 4)
    buffer, policy = learner.replay_buffer, learner.env.policy
    obs, after = buffer.observations[: buffer.pos], buffer.next_observations[: buffer.pos]
    done = buffer.dones[: buffer.pos] > 0
    assert done.any() and (buffer.rewards[: buffer.pos][~done] == 0).all()
    # within an episode a step's next state is the next step's state; at its end it is not
    same = (after[:-1] == obs[1:]).all(-1)
    assert (same == ~done[:-1]).all()
    # the goal, which only changes between episodes, tells whose state the last one is
    goal = slice(16, 19)
    assert (obs[..., goal] == after[..., goal]).all()
    assert obs.shape[-1] == policy.seen_size
    timeouts = buffer.timeouts[: buffer.pos] > 0
    assert (timeouts == (done & (buffer.rewards[: buffer.pos] == 0))).all()


def test_corrections_of_one_step_act_on_the_base_action_of_that_step():
    """With corrections of zero, the stream is the base acting by itself."""
    base = make_base(fitted=True)
    policy = residual_on(base, alpha=0.3, bounded=True)
    env, alone = ResidualStream(Reach(4), policy, seed=5), Reach(4)
    env.reset()
    alone.reset(np.arange(4) + 5)
    session = base.session(4)
    for _ in range(3):
        _, reward_N, _, _ = env.step(np.zeros((4, 10), np.float32))
        step = alone.step(session.act(alone.observe(base.reads)))
        assert np.array_equal(reward_N, step.reward)
        assert np.array_equal(env.stream.task.at_N3, alone.at_N3)


def test_the_logged_reward_is_the_mean_of_episodes_that_were_started_together():
    """Whatever their lengths, and however many of them end in an iteration: one may end in none, or all in one."""
    learner = make_learner(make_base(fitted=True), task=Paid, steps=5, warmup=100_000)
    took, logged = learner.env.step_wait, []
    began_N, return_N, returns = np.zeros(16, int), np.zeros(16), {}

    def step_wait():
        answer = took()
        return_N[:] += answer[1]
        for one in np.flatnonzero(answer[2]):
            returns.setdefault(began_N[one], []).append(return_N[one])
            began_N[one], return_N[one] = len(logged), 0.0
        return answer

    learner.env.step_wait = step_wait
    told, lengths = 0, set()
    while len(logged) < 30:
        learn(learner, 1)
        whole = [began for began in list(returns) if began < began_N.min()]
        logged.append(learner.logger.name_to_value.get("rollout/ep_rew_mean"))
        learner.logger.dump()
        if whole:
            together = np.concatenate([returns.pop(began) for began in sorted(whole)])
            assert 0.999 < logged[-1] < 2.001
            assert logged[-1] == pytest.approx(together.mean(), abs=1e-6)
            told, lengths = told + len(together), lengths | {len(together)}
        else:
            assert logged[-1] is None
    assert told > 100 and len(lengths) > 3


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"td3\.every is 0"):
        TD3Config(every=0)
    with pytest.raises(ValueError, match="every is 2.*learner=ppo"):
        ResidualStream(Reach(2), residual_on(make_base(), every=2))
