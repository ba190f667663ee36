"""PPO of a residual: the base is part of the world and stays as it was; each rule of the card holds."""

import numpy as np
import pytest
import stable_baselines3
import torch
from embodkd.policies import session_of
from learning import AfterCollection, weights
from reach_task import Reach
from residual_parts import learn, make_base, make_learner

from embodkd.rl.advantages import standardise, until_done
from embodkd.rl.loop import success_and_return
from embodkd.rl.residual.config import ResidualPPOConfig, rate_factor
from embodkd.rl.residual.env import SEEN


def collected(learner):
    """The learner after one collection, without updates."""
    learner.train = lambda: None
    return learn(learner)


def counted_calls(policy):
    """Rows that the base was asked for, one entry per call of its network."""
    rows, chunk = [], policy.base.chunk

    def count(obs, history):
        rows.append(len(history.plan_NHA))
        return chunk(obs, history)

    policy.base.chunk = count
    return rows


def test_is_stable_baselines3s_ppo_and_its_env_passes_the_bases_action_on():
    learner = make_learner()
    assert isinstance(learner, stable_baselines3.PPO)
    seen = learner.env.reset()[SEEN]
    assert learner.env.observation_space.contains({SEEN: seen[0]})
    policy, task = learner.env.policy, learner.env.task
    base_NA = policy.base.session(16).next_base(task.observe(policy.reads))
    np.testing.assert_allclose(seen[:, -10:], base_NA, atol=1e-6)
    action, _ = learner.predict({SEEN: seen}, deterministic=True)
    assert not action.any()


@pytest.mark.parametrize("every", [1, 4])
def test_without_corrections_the_env_is_the_base_acting_alone(every):
    learner = make_learner(every=every, mask=False)
    env, task = learner.env, Reach(16)
    env.reset()
    task.reset(env.task.seeds)
    session = session_of(env.policy.base, 16)
    for decision in range(env.decisions):
        env.step(np.zeros((16, env.policy.outputs), np.float32))
        for _ in range(every):
            task.step(session.act(task.observe(env.policy.reads)))
        np.testing.assert_array_equal(task.at_N3, env.task.at_N3, err_msg=str(decision))
    with pytest.raises(ValueError, match="call reset first"):
        env.step(np.zeros((16, env.policy.outputs), np.float32))


def test_an_iteration_is_one_episode_in_every_copy_from_fresh_seeds():
    learner, seeds = make_learner(), []
    reset = learner.env.task.reset
    learner.env.task.reset = lambda s, ids=None: seeds.append(s.copy()) or reset(s, ids)
    learn(learner, 3)
    assert learner.num_timesteps == 3 * 16 * 12
    assert len(seeds) == 3 and len(np.unique(seeds)) == 48 and np.min(seeds) > 2**32
    assert learner.env.task.steps.tolist() == [12] * 16


@pytest.mark.parametrize(("horizon", "bootstrap", "calls"), [(4, False, 3), (4, True, 4), (8, False, 2), (8, True, 2)])
def test_the_base_is_asked_once_per_chunk_and_once_more_to_bootstrap_on_an_empty_queue(horizon, bootstrap, calls):
    learner = make_learner(base=make_base(horizon), bootstrap=bootstrap, mask=False)
    rows = counted_calls(learner.env.policy)
    collected(learner)
    assert rows == [32] * calls, "ceil(12 / horizon), or ceil(13 / horizon) with the bootstrap"


def test_finished_copies_are_not_looked_at_any_more():
    learner = make_learner(base=make_base(fitted=True, shift=0.0))
    looked, observe = [], learner.env.task.observe
    learner.env.task.observe = lambda groups, ids=None: looked.append(len(ids)) or observe(groups, ids)
    collected(learner)
    alive = until_done(learner.rollout_buffer.done_TN).sum(1).tolist()
    assert looked == [n for n in alive if n] and alive[0] == 16 > alive[-1]


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("mask", [True, False])
def test_done_stays_done_and_returns_are_those_of_a_slow_formula(mask, every):
    learner = collected(make_learner(base=make_base(fitted=True, shift=0.05), mask=mask, every=every, gamma=0.9))
    buffer = learner.rollout_buffer
    reward, done, value = (x.double().numpy() for x in (buffer.reward_TN, buffer.done_TN, buffer.value_TN))
    assert (np.diff(done, axis=0) >= 0).all() and done[-1].all() and 0 < done[0].sum() < 16
    gamma, steps = 0.9**every, len(done)
    for i in range(16):
        for t in range(steps):
            delta = [
                reward[s, i] + gamma * (1 - done[s, i]) * (value[s + 1, i] if s + 1 < steps else 0) - value[s, i]
                for s in range(steps)
            ]
            advantage, factor = 0.0, 1.0
            for s in range(t, steps):
                advantage += factor * delta[s]
                factor *= gamma * 0.95 * (1 - done[s, i])
            assert buffer.advantage_TN[t, i].item() == pytest.approx(advantage, abs=1e-5)
    after = ~until_done(buffer.done_TN)
    assert torch.equal(buffer.advantage_TN[after], -buffer.value_TN[after])
    # One event per episode; within a decision it is discounted by the control steps before it.
    assert buffer.reward_TN.sum(0).max() <= 1.0 and set(buffer.reward_TN.unique().tolist()) <= {
        0.0,
        1.0,
        float(np.float32(0.9)),
    }


def test_time_is_an_end_unless_bootstrap_says_otherwise():
    for bootstrap in (False, True):
        learner = collected(make_learner(base=make_base(shift=0.5, fitted=True), bootstrap=bootstrap, alpha=0.0))
        buffer, net = learner.rollout_buffer, learner.policy
        assert not learner.env.success_N.any() and buffer.done_TN[-1].any() != bootstrap
        with torch.no_grad():
            after = net.values({SEEN: torch.from_numpy(learner.env._seen_NS)})
        wanted = learner.config.gamma * after * bootstrap - buffer.value_TN[-1]
        torch.testing.assert_close(buffer.advantage_TN[-1], wanted)


@pytest.mark.parametrize("mask", [True, False])
def test_what_comes_after_an_episodes_end_counts_only_without_the_mask(mask):
    def spoil(model):
        after = ~until_done(model.rollout_buffer.done_TN)
        assert after.any()
        for values in (model.rollout_buffer.advantage_TN, model.rollout_buffer.return_TN):
            values[after] = 1e3
        model.rollout_buffer.obs[SEEN][after] = 5.0

    base = make_base(fitted=True, shift=0.05)
    plain = learn(make_learner(base=base, mask=mask), 2)
    spoiled = learn(make_learner(base=base, mask=mask), 2, callback=AfterCollection(spoil))
    assert torch.equal(weights(plain.policy), weights(spoiled.policy)) == mask


def test_a_step_descends_the_loss_of_the_card():
    learner = make_learner(epochs=1, minibatches=1, actor_warmup=0, max_grad_norm=1e9, kl_stop=None)
    net, losses = learner.policy, []

    @torch.enable_grad()
    def look(model):
        buffer = model.rollout_buffer
        net.actor[-1].weight.data.add_(0.01)
        counted = until_done(buffer.done_TN).flatten()
        mean, value = net.means_and_values({SEEN: buffer.obs[SEEN].flatten(0, 1)[counted]})
        action, old = buffer.action_TNA.flatten(0, 1)[counted], buffer.log_prob_TN.flatten()[counted]
        distribution = torch.distributions.Normal(mean, np.exp(-1.0))
        ratio = (distribution.log_prob(action).sum(-1) - old).exp()
        advantage = standardise(buffer.advantage_TN.flatten()[counted])
        policy_loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean()
        value_loss = 0.5 * (value - buffer.return_TN.flatten()[counted]).square().mean()
        losses.append((policy_loss.item(), value_loss.item()))
        gradients = torch.autograd.grad(policy_loss + value_loss, [*net.actor.parameters(), *net.critic.parameters()])
        losses.append(torch.cat([g.flatten() for g in gradients]))

    learn(learner, callback=AfterCollection(look))
    scalars = learner.logger.name_to_value
    assert scalars["train/policy_loss"] == pytest.approx(losses[0][0], abs=1e-5)
    assert scalars["train/value_loss"] == pytest.approx(losses[0][1], abs=1e-5)
    done = torch.cat([p.grad.flatten() for p in (*net.actor.parameters(), *net.critic.parameters())])
    torch.testing.assert_close(done, losses[1], atol=1e-5, rtol=1e-3)


def test_updates_end_after_the_minibatch_that_went_too_far():
    assert learn(make_learner(kl_stop=None)).logger.name_to_value["train/updates"] == 4
    # Minibatch one is at the old policy itself, up to rounding, and is carried out whatever it says.
    learner = make_learner(kl_stop=-1.0, actor_warmup=0)
    before = weights(learner.policy.actor)
    assert learn(learner).logger.name_to_value["train/updates"] == 1
    assert not torch.equal(weights(learner.policy.actor), before)
    assert learn(make_learner(kl_stop=1e-4, actor_warmup=0, actor_rate=1e-2)).logger.name_to_value["train/updates"] == 2


def test_rates_of_the_card():
    assert [rate_factor(i, 1395, 5) for i in range(6)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert rate_factor(700, 1395, 5) == pytest.approx(0.5)
    assert (rate_factor(0, 1395), rate_factor(700, 1395)) == pytest.approx((1.0, 0.497185), abs=2e-6)
    assert rate_factor(1395, 1395, 5) == rate_factor(9999, 1395) == 0.0
    steps = {700: 1395, 1000: 976, 400: 2441, 200: 4882}
    assert all(10**9 // (1024 * length) == wanted for length, wanted in steps.items())


def test_the_first_iteration_moves_the_critic_alone_and_warm_up_prolongs_that():
    for settings, still in (({}, 1), ({"critic_warmup": 3}, 3), ({"actor_warmup": 0}, 0)):
        learner = make_learner(**settings)
        for iteration in range(4):
            actor, critic = weights(learner.policy.actor), weights(learner.policy.critic)
            learn(learner)
            assert torch.equal(weights(learner.policy.actor), actor) == (iteration < still), (settings, iteration)
            assert not torch.equal(weights(learner.policy.critic), critic)


def test_optimisers_are_those_of_the_card():
    net = make_learner().policy
    for optimiser, rate in ((net.optimizer, 3e-4), (net.critic_optimizer, 5e-3)):
        assert isinstance(optimiser, torch.optim.AdamW)
        group = optimiser.param_groups[0]
        assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (rate, (0.9, 0.999), 1e-5, 1e-6)


def test_initial_heads_of_the_card():
    net = make_learner().policy
    mean, value = net.means_and_values({SEEN: torch.zeros(1, 40)})
    assert not mean.any() and value.item() == pytest.approx(0.25)
    assert net.critic[-1].weight.norm().item() == pytest.approx(0.25, abs=1e-6)
    assert net.log_prob(mean, torch.zeros(1, 10)).item() == pytest.approx(0.810615, abs=2e-6)
    assert net.log_prob(mean, torch.full((1, 10), 0.5)).item() == pytest.approx(-8.425705, abs=2e-6)
    assert net.entropy().item() == pytest.approx(4.189385, abs=2e-6)
    # 40 numbers in: 16 + 14 of state, 10 of the base's action.
    inputs = 40 * 256 + 256 + 256 * 256 + 256
    assert sum(p.numel() for p in net.critic.parameters()) == inputs + 256 + 1
    assert sum(p.numel() for p in net.parameters()) == 2 * inputs + 2560 + 257 + 10


@pytest.mark.parametrize(
    ("inputs", "critic", "total"), [(68, 83_713, 169_739), (54, 80_129, 162_571), (47, 78_337, 158_987)]
)
def test_sizes_of_the_card(inputs, critic, total):
    from embodkd.policies import make_policy

    from embodkd.core.sources.group import GroupFacts
    from embodkd.rl.residual.net import ResidualActorCritic

    learner = make_learner()
    groups = {
        "proprio": GroupFacts("proprio", (16,), False),
        "privileged": GroupFacts("privileged", (inputs - 26,), True),
    }
    policy = make_policy("residual", groups, 10, base="mlp_chunk", base_arguments={"width": 8})
    spaces = (learner.observation_space, learner.action_space)
    net = ResidualActorCritic(*spaces, lambda _: 0.0, residual=policy, config=ResidualPPOConfig())
    assert sum(p.numel() for p in net.critic.parameters()) == critic
    assert sum(p.numel() for p in net.parameters()) == total


def test_the_noise_is_fixed_unless_it_is_learned():
    assert (learn(make_learner(), 3).policy.log_std == -1.0).all()
    assert learn(make_learner(learn_log_std=True, log_std=-1.5, entropy=1.0), 3).policy.log_std.mean() > -1.5


def test_rewards_are_scaled_as_in_the_card():
    learner = make_learner(normalise_rewards=True)
    everyone = np.ones(4, bool)
    for reward in (np.zeros(4), np.zeros(4)):
        learner._scaled(reward.astype(np.float32), everyone)
    scaled = learner._scaled(np.array([0, 1, 0, 0], np.float32), everyone)
    assert learner.reward_statistics.var == pytest.approx(0.0763966, abs=2e-6)
    assert scaled.tolist() == pytest.approx([0, 3.617952, 0, 0], abs=2e-6)
    learn(make_learner(normalise_rewards=True, base=make_base(fitted=True, shift=0.0)))


def test_the_base_is_untouched_by_learning():
    learner = make_learner(base=make_base(fitted=True))
    base = learner.env.policy.base
    before = {name: value.clone() for name, value in base.state_dict().items()}
    learn(learner, 3)
    assert all(torch.equal(before[name], value) for name, value in base.state_dict().items())
    assert all(p.grad is None for p in base.parameters())


@pytest.mark.parametrize("every", [1, 4])
def test_learns_what_the_base_cannot_do(every):
    learner = make_learner(64, make_base(fitted=True), every=every, epochs=10, minibatches=4, iterations=24)
    policy = learner.env.policy
    before, _ = success_and_return(policy, Reach(100))
    learn(learner, 24)
    after, mean_return = success_and_return(policy, Reach(100))
    assert before < 0.5 and after >= 0.9 and mean_return == pytest.approx(after)


def test_a_copy_of_the_base_learns_in_its_place_and_stays_near_it_when_told_to():
    base, moved = make_base(fitted=True), []
    for stay in (0.0, 100.0):
        learner = make_learner(16, base, every=4, alpha=1.0, fine_tune=True, log_std=-2.0, actor_rate=1e-3, stay=stay)
        before, frozen = weights(learner.env.policy.head), weights(learner.env.policy.base)
        learn(learner, 4)
        assert not torch.equal(weights(learner.env.policy.head), before)
        assert torch.equal(weights(learner.env.policy.base), frozen)
        moved.append(learner.rollout_buffer.mean_TNA.abs().mean().item())
    assert 0 < moved[1] < 0.5 * moved[0]


def test_same_seed_same_weights_and_another_seed_others():
    base = make_base()
    one, same, other = (weights(learn(make_learner(base=base, seed=s), 2).policy) for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_reward_that_is_not_finite_stops_the_training():
    learner = make_learner()
    learner.rollout_buffer.compute_advantages = lambda last: learner.rollout_buffer.advantage_TN.fill_(np.nan)
    with pytest.raises(FloatingPointError, match=r"last checkpoint is intact"):
        learn(learner)


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="at least 1"):
        ResidualPPOConfig(epochs=0)
    with pytest.raises(ValueError, match=r"minibatches=4 is more than ppo\.num_envs=2"):
        ResidualPPOConfig(num_envs=2)
