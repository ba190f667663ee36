"""PPO: still stable-baselines3's, right in its arithmetic, each switch alive."""

import numpy as np
import pytest
import stable_baselines3
import torch
from embodkd.envs.doors.sb3 import TaskVecEnv
from embodkd.policies import make_policy
from learning import AfterCollection, weights
from line_task import Line

from embodkd.rl.config import STOCK, PPOConfig
from embodkd.rl.loop import success_and_return
from embodkd.rl.ppo import PPO

GROUPS = ("proprio", "privileged")


def make(num_envs=16, seed=0, wall=False, actor=None, **settings):
    torch.manual_seed(seed)
    task = Line(num_envs, wall)
    config = PPOConfig(**{"num_envs": num_envs, "n_steps": 8, "minibatch": 32, **settings})
    actor = actor or make_policy("mlp", task.spec.groups, 2, hidden=(16,))
    return PPO(TaskVecEnv(task, GROUPS, seed), actor, GROUPS, config, seed)


def learn(learner, iterations):
    for _ in range(iterations):
        learner.learn(learner.n_steps * learner.n_envs, log_interval=None, reset_num_timesteps=False)
    return learner


def test_is_stable_baselines3s_ppo_and_predicts():
    learner = learn(make(), 1)
    assert isinstance(learner, stable_baselines3.PPO)
    obs = learner.env.reset()
    action, _ = learner.predict(obs, deterministic=True)
    np.testing.assert_allclose(action, learner.policy.actor.act(obs), atol=1e-6)


@pytest.mark.parametrize("iterations", [1, 3])
def test_old_and_new_policy_agree_at_the_first_minibatch(iterations):
    ratios = []

    def look(model):
        buffer, net = model.rollout_buffer, model.policy
        with torch.no_grad():
            log_prob = net.log_prob(net.actor(buffer.flat_obs), buffer.action_TNA.flatten(0, 1))
        ratios.append((log_prob - buffer.log_prob_TN.flatten()).exp())

    learner = make()
    for _ in range(iterations):
        learner.learn(128, callback=AfterCollection(look), log_interval=None, reset_num_timesteps=False)
    assert len(ratios) == iterations
    for ratio in ratios:
        assert (ratio - 1).abs().max() < 1e-5


def test_statistics_come_from_raw_observations_and_change_between_iterations_only():
    seen = []
    learner = make()
    learner.learn(
        128, callback=AfterCollection(lambda m: seen.append(m.policy.actor.normaliser.count.item())), log_interval=None
    )
    assert seen == [128.0]
    assert learner.policy.actor.normaliser.count == 256
    assert abs(learner.policy.actor.normaliser.mean[1] - 100) < 1


@pytest.mark.parametrize("wall", [False, True])
def test_advantages_equal_a_slow_formula_with_ends_bootstrapped_rightly(wall):
    steps = []
    learner = make(wall=wall, init_std=2.0)
    stream_step = learner.stream.step
    learner.stream.step = lambda actions: steps.append(stream_step(actions)) or steps[-1]
    learner.learn(128, callback=AfterCollection(lambda m: setattr(m, "train", lambda: None)), log_interval=None)
    buffer, net, config = learner.rollout_buffer, learner.policy, learner.config
    steps = steps[-8:]
    assert any(s.truncated.any() for s in steps)
    assert any(s.terminated.any() for s in steps) == wall

    def value(obs):
        with torch.no_grad():
            return net.values({n: torch.from_numpy(v) for n, v in obs.items()}).numpy()

    after = value(learner._last_obs)
    for i in range(16):
        advantage = 0.0
        for t in reversed(range(8)):
            step, v = steps[t], buffer.value_TN[t, i].item()
            v_next = after[i] if t == 7 else buffer.value_TN[t + 1, i].item()
            ended = step.terminated[i] or step.truncated[i]
            if ended:
                row = int(np.flatnonzero(step.final_ids == i)[0])
                final = {n: o[row : row + 1] for n, o in step.final_obs.items()}
                v_next = 0.0 if step.terminated[i] else value(final)[0]
            delta = step.reward[i] + config.gamma * v_next - v
            advantage = delta + (0.0 if ended else config.gamma * config.gae_lambda * advantage)
            assert abs(buffer.advantage_TN[t, i].item() - advantage) < 1e-4
    np.testing.assert_allclose(buffer.return_TN, buffer.advantage_TN + buffer.value_TN)


def test_minibatches_hold_every_row_once_and_keep_rows_together():
    learner = learn(make(), 1)
    buffer = learner.rollout_buffer
    batches = list(buffer.minibatches(32, buffer.advantage_TN, buffer.return_TN))
    assert [len(b.action_NA) for b in batches] == [32] * 4
    rows = torch.cat([torch.cat([b.obs["privileged"], b.action_NA, b.return_N[:, None]], 1) for b in batches])
    parts = (buffer.obs["privileged"], buffer.action_TNA, buffer.return_TN[..., None])
    wanted = torch.cat([p.flatten(0, 1) for p in parts], 1)
    assert torch.equal(rows[rows[:, 1].argsort()], wanted[wanted[:, 1].argsort()])


def test_new_return_statistics_leave_values_unchanged():
    learner = learn(make(), 1)
    net, obs = learner.policy, learner.rollout_buffer.flat_obs
    before = net.values(obs)
    net.update_return_statistics(torch.randn(500) * 50 + 300)
    assert torch.allclose(net.values(obs), before, atol=1e-2)
    assert net.standard_returns(torch.tensor([300.0])).abs() < 5


def test_learns():
    learner = make(num_envs=64, n_steps=6, minibatch=96, gamma=0.9, learning_rate=3e-3, kl_target=None)
    before, _ = success_and_return(learner.policy.actor, Line(100))
    learn(learner, 50)
    after, _ = success_and_return(learner.policy.actor, Line(100))
    assert before < 0.4
    assert after >= 0.95


def test_same_seed_same_weights_and_another_seed_others():
    one, same, other = (weights(learn(make(seed=s), 2).policy) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("switch", [n for n in STOCK if n != "orthogonal"])
def test_every_switch_changes_the_result(switch):
    # Tiny limit, so that clipping bites in both arrangements; adapting needs an iteration to show.
    common = {"max_grad_norm": 0.05, "init_std": 0.3}
    with_it = weights(learn(make(**common), 3).policy)
    without = weights(learn(make(**{**common, switch: STOCK[switch]}), 3).policy)
    assert not torch.equal(with_it, without)


def test_orthogonal_initialisation_is_a_switch():
    layer = make(orthogonal=True).policy.critic.layers[0]
    gram = layer.weight.T @ layer.weight
    assert torch.allclose(gram, 2 * torch.eye(3), atol=1e-5)
    assert not torch.allclose(make().policy.critic.layers[0].weight.T @ make().policy.critic.layers[0].weight, gram)


def test_the_actors_rate_follows_its_divergence_and_the_critics_stays():
    low, high = learn(make(kl_target=1e-9), 2), learn(make(kl_target=1e3), 2)
    for learner, rate in ((low, 5e-4 / 1.5**2), (high, 5e-4 * 1.5**2)):
        assert learner.rate == pytest.approx(rate)
        assert learner.policy.optimizer.param_groups[1]["lr"] == 5e-4


def test_critic_warmup_leaves_the_actor_alone():
    learner = make(critic_warmup=2)
    actor, critic = weights(learner.policy.actor), weights(learner.policy.critic)
    learn(learner, 2)
    assert torch.equal(weights(learner.policy.actor), actor)
    assert not torch.equal(weights(learner.policy.critic), critic)
    learn(learner, 1)
    assert not torch.equal(weights(learner.policy.actor), actor)


def test_who_is_held_stays_near_where_it_began_and_is_let_go_in_the_end():
    began = weights(make().policy.actor)
    away = {
        hold: (weights(learn(make(hold=hold, hold_iterations=1000), 6).policy.actor) - began).norm()
        for hold in (0, 1, 100)
    }
    assert away[100] < 0.5 * away[0] and away[1] < away[0]
    config = PPOConfig(num_envs=16, n_steps=8, minibatch=32, critic_warmup=2, hold=3.0, hold_iterations=4)
    assert [config.hold_at(i) for i in range(8)] == [3.0, 3.0, 3.0, 2.25, 1.5, 0.75, 0.0, 0.0]


def test_being_held_is_the_divergence_of_two_normal_distributions_and_nothing_at_the_start():
    learner = make(hold=1.0)
    obs = {name: torch.from_numpy(rows) for name, rows in learner.env.reset().items()}
    with torch.no_grad():
        assert not learner._away(learner.policy.actor(obs), obs).any()
        learner.policy.log_std += torch.tensor([0.3, -0.2])
        mean = learner.policy.actor(obs) + torch.tensor([0.1, -0.4])
        now, start = (torch.distributions.Normal(m, learner.policy.log_std.exp()) for m in (mean, learner.start(obs)))
        expected = torch.distributions.kl_divergence(now, start).sum(-1)
        assert torch.allclose(learner._away(mean, obs), expected, atol=1e-5)


def test_who_is_held_does_not_change_who_is_not():
    plain, held = learn(make(), 2), learn(make(hold=1.0, hold_iterations=1, critic_warmup=1), 1)
    assert plain.start is None and torch.equal(weights(held.policy.actor), weights(make().policy.actor))


def test_a_student_that_reads_less_than_the_critic_can_be_improved():
    task = Line(1)
    student = make_policy("blind", task.spec.groups, 2, hidden=(16,))
    learner = make(actor=student)
    before = weights(student)
    learn(learner, 1)
    assert student.reads == ("proprio",)
    assert not torch.equal(weights(student), before)


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="does not divide"):
        PPOConfig(num_envs=10, n_steps=10, minibatch=64)
    with pytest.raises(ValueError, match="at least 1"):
        PPOConfig(epochs=0)
    task = Line(4)
    with pytest.raises(ValueError, match="TaskVecEnv"):
        PPO(object(), make_policy("mlp", task.spec.groups, 2), GROUPS, PPOConfig())


def test_a_policy_that_became_nan_stops_the_training():
    learner = learn(make(), 1)
    learner.stream.step = (lambda step: lambda a: (lambda s: s._replace(reward=s.reward * np.nan))(step(a)))(
        learner.stream.step
    )
    with pytest.raises((FloatingPointError, ValueError), match="finite"):
        learn(learner, 2)
