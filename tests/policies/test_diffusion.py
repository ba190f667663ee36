"""The diffusion policy: the card's DDIM numbers, an independent sampler, warm starts, the loss, cameras."""

import math

import numpy as np
import pytest
import torch
from embodkd.policies import make_policy
from embodkd.policies.chunk import History
from embodkd.policies.diffusion import ddim
from embodkd.policies.noise import noise_of
from torch import nn

SMALL = {"widths": (16, 32), "horizon": 8, "execute": 3}


class Constant(nn.Module):
    """A network that always finds the same noise; notes the levels that it is asked for."""

    def __init__(self, value):
        super().__init__()
        self.value, self.levels = value, []
        self.somewhere = nn.Parameter(torch.zeros(()))  # a policy asks its weights where they are

    def forward(self, noisy_NHA, level_N, condition_NG):
        self.levels.append(int(level_N[0]))
        return torch.full_like(noisy_NHA, self.value)


def small(groups, **options):
    return make_policy("diffusion", groups, 4, **{**SMALL, **options}).eval()


def tensors(obs):
    return {name: torch.from_numpy(value) for name, value in obs.items()}


def test_the_published_grid_and_signal():
    assert ddim(4).timesteps.tolist() == [75, 50, 25, 0]
    assert ddim(16).timesteps.tolist() == list(range(90, -1, -6))
    signal = ddim(4).alphas_cumprod[[0, 25, 50, 75, 90]].double()
    expected = torch.tensor([0.999368718, 0.835620577, 0.478264633, 0.133494810, 0.019544376], dtype=torch.float64)
    torch.testing.assert_close(signal, expected, atol=2e-6, rtol=0)
    assert ddim(4).betas[99] == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("start", "noise", "path"),
    [(0.3, 0.2, [0.359914, None, None, 0.311541]), (1.5, -1.0, [-0.030746, 0.508686, 0.974559, 1.0])],
)
def test_the_published_samples(start, noise, path, groups):
    sampler, sample = ddim(4), torch.tensor(start)
    for level, expected in zip((75, 50, 25, 0), path, strict=True):
        sample = sampler.step(torch.tensor(noise), level, sample).prev_sample
        assert expected is None or abs(sample.item() - expected) < 2e-6
    policy = small(groups, warm_start="cold")
    policy.unet = Constant(noise)
    final = policy.denoise(torch.full((1, 8, 4), start), torch.zeros(1, 30), policy.levels)
    torch.testing.assert_close(final, torch.full((1, 8, 4), path[-1]), atol=2e-6, rtol=0)
    assert policy.unet.levels == [75, 50, 25, 0]


def going_on(policy, obs, plan):
    """In the midst of an episode, with this plan."""
    begins = torch.zeros(len(plan), dtype=torch.bool)
    return History(plan, begins, policy.noise(obs))


def slow_sample(policy, sample, condition, levels, spacing):
    """DDIM by its formula in float64, around the policy's own network."""

    def signal(level):
        if level < 0:
            return 1.0
        curve = [math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(101)]
        return math.prod(1 - min(1 - curve[t + 1] / curve[t], 0.999) for t in range(level + 1))

    for level in levels:
        noise = policy.unet(sample.float(), torch.full((len(sample),), float(level)), condition).double()
        now, after = signal(level), signal(level - spacing)
        clean = ((sample - (1 - now) ** 0.5 * noise) / now**0.5).clamp(-1, 1)
        sample = after**0.5 * clean + (1 - after) ** 0.5 * noise
    return sample


@pytest.mark.parametrize(("steps", "warm_start"), [(4, "cold"), (4, "warm"), (16, "cold"), (16, "warm")])
def test_chunks_are_those_of_an_independent_sampler(steps, warm_start, groups, obs):
    policy = small(groups, steps=steps, warm_start=warm_start)
    with torch.no_grad():
        policy.unet.out[1].weight.mul_(20.0)  # so that clipping matters
        plan = torch.rand(6, 8, 4) - 0.5
        chunk = policy.chunk(tensors(obs), going_on(policy, tensors(obs), plan))
        spacing = 100 // steps
        levels = [k for k in range(spacing * (steps - 1), -1, -spacing) if warm_start == "cold" or k <= 50]
        noise = noise_of(torch.cat([torch.from_numpy(obs[n]) for n in policy.vectors], 1), 32).view(6, 8, 4).double()
        start = noise if warm_start == "cold" else 0.691567 * plan.double() + 0.722313 * noise
        expected = slow_sample(policy, start, policy.condition(tensors(obs)), levels, spacing)
    torch.testing.assert_close(chunk.double(), expected, atol=2e-4, rtol=0)
    assert chunk.abs().max() <= 1.0 and (chunk.abs() == 1.0).any()


def test_a_warm_start_mixes_the_plan_with_noise_of_level_50(groups):
    policy = small(groups)
    ones, zeros, level = torch.ones(1, 8, 4), torch.zeros(1, 8, 4), torch.tensor(50)
    assert policy.noised(zeros, ones, level).mean().item() == pytest.approx(0.722313, abs=2e-6)
    assert policy.noised(ones, zeros, level).mean().item() == pytest.approx(0.691567, abs=2e-6)


def test_only_a_warm_start_depends_on_the_plan(groups, obs):
    plan = torch.full((6, 8, 4), 0.5)
    for warm_start in ("warm", "cold"):
        policy = small(groups, warm_start=warm_start)
        with torch.no_grad():
            one, other = (policy.chunk(tensors(obs), going_on(policy, tensors(obs), p)) for p in (plan, -plan))
            same = torch.equal(one, other)
        assert same == (warm_start == "cold")


@pytest.mark.parametrize("steps", [2, 4, 16])
def test_where_nothing_is_planned_a_warm_start_is_the_cold_sample_bit_for_bit(steps, groups, obs):
    warm, cold = small(groups, steps=steps), small(groups, steps=steps, warm_start="cold")
    cold.load_state_dict(warm.state_dict())
    seen, plan = tensors(obs), torch.rand(6, 8, 4) - 0.5
    begins = torch.tensor([True, False, True, False, False, True])
    with torch.no_grad():
        mixed = warm.chunk(seen, History(plan, begins, warm.noise(seen)))
        going = warm.chunk(seen, going_on(warm, seen, plan))
        sampled = cold.chunk(seen, cold.beginning(seen))
    assert torch.equal(mixed[begins], sampled[begins]) and torch.equal(mixed[~begins], going[~begins])
    assert not torch.equal(mixed[begins], going[begins]), "the warm start would have done something else"


@pytest.mark.parametrize(("steps", "first", "later"), [(4, [75, 50, 25, 0], [50, 25, 0]), (1, [50], [50])])
def test_a_session_samples_its_first_chunks_cold_and_all_others_warm(steps, first, later, groups, obs):
    policy = small(groups, steps=steps)
    policy.unet = Constant(0.1)
    session = policy.session(6, chunk=6)
    for expected in (first, later, later):
        policy.unet.levels.clear()
        for _ in range(policy.execute):
            session.act(obs)
        assert policy.unet.levels == expected
    session.begin(np.array([2]))
    policy.unet.levels.clear()
    session.act(obs)
    assert policy.unet.levels == first, "one copy begins: the others' rows go through, and are not changed by it"


def test_a_single_step_begins_where_it_was_trained_to(groups, obs):
    """From a plan of zeros with noise of level 50, whatever is left in the plan."""
    policy, seen = small(groups, steps=1), tensors(obs)
    plan, begins = torch.rand(6, 8, 4), torch.ones(6, dtype=torch.bool)
    with torch.no_grad():
        first = policy.chunk(seen, History(plan, begins, policy.noise(seen)))
        start = policy.noised(torch.zeros_like(plan), policy.noise(seen), torch.tensor(50))
        noise = policy.unet(start, torch.full((6,), 50.0), policy.condition(seen))
    kept = policy.scheduler.alphas_cumprod[50]
    torch.testing.assert_close(first, ((start - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1))


def test_a_chunk_that_is_carried_out_whole_leaves_no_plan_so_each_is_sampled_cold(groups, obs):
    policy = small(groups, execute=8)
    policy.unet = Constant(0.1)
    session = policy.session(6, chunk=6)
    for _ in range(3 * 8):
        session.act(obs)
    assert policy.unet.levels == [75, 50, 25, 0] * 3


def test_after_a_call_the_plan_is_the_rest_of_the_chunk_and_then_zeros(groups, obs):
    policy = make_policy("diffusion", groups, 4, widths=(16, 32))
    session = policy.session(6, chunk=6)
    for _ in range(2):
        former, begins = torch.from_numpy(session.plan_NHA.copy()), torch.from_numpy(session.begins_N.copy())
        session.act(obs)
        with torch.no_grad():
            seen = policy.eval().tensors(obs)
            chunk = policy.chunk(seen, History(former, begins, policy.noise(seen)))
        np.testing.assert_array_equal(session.plan_NHA[:, :24], chunk[:, 8:])
        assert (session.plan_NHA[:, 24:] == 0).all()
        for _ in range(7):
            session.act(obs)


def test_the_loss_is_one_number_per_item_and_the_stated_mean(groups, obs):
    policy = small(groups).train()
    actions = torch.randn(6, 8, 4)
    policy.fit_normalisers(obs, actions)
    torch.manual_seed(3)
    loss = policy.loss(tensors(obs), actions)
    torch.manual_seed(3)
    noise, level = torch.randn(6, 8, 4), torch.randint(100, (6,))
    low, high = actions.flatten(0, 1).amin(0), actions.flatten(0, 1).amax(0)
    clean = 2 * (actions - low) / (high - low) - 1
    for i in range(6):
        kept = ddim(4).alphas_cumprod[level[i]]
        noisy = kept.sqrt() * clean[i] + (1 - kept).sqrt() * noise[i]
        condition = policy.condition({n: v[i : i + 1] for n, v in tensors(obs).items()})
        found = policy.unet(noisy[None], level[i : i + 1], condition)
        assert loss[i].item() == pytest.approx((found[0] - noise[i]).square().mean().item(), rel=1e-4)
    policy.unet = Constant(0.0)
    torch.manual_seed(3)
    torch.testing.assert_close(policy.loss(tensors(obs), actions), noise.square().mean((1, 2)))


def test_it_plays_what_it_learned(groups):
    """Loss, ranges and sampler belong together: a demonstration seen often enough is repeated."""
    torch.manual_seed(0)
    policy = small(groups, vectors=("robot",), widths=(32,), warm_start="cold", steps=10)
    shown = torch.linspace(-0.5, 0.7, 8)[:, None] * torch.tensor([1.0, -1.0, 0.5, 0.1])
    obs, actions = {"robot": torch.zeros(24, 16)}, shown.repeat(24, 1, 1)
    policy.fit_normalisers(obs, actions)
    optimiser = torch.optim.AdamW(policy.parameters(), 5e-3)
    for _ in range(120):
        optimiser.zero_grad()
        policy.loss(obs, actions).mean().backward()
        optimiser.step()
    with torch.no_grad():
        played = policy.actions.denormalise(policy.chunk(obs, policy.beginning(obs)))
    assert ((played - shown).abs() / shown.abs().amax(0)).max() < 0.3


def test_cameras_are_read_and_moved_in_training_only(groups, obs):
    policy = small(groups, vectors=("robot",), cameras=("wrist_rgb", "front_rgb"))
    assert policy.reads == ("robot", "wrist_rgb", "front_rgb") and not policy.privileged
    seen = tensors(obs)
    with torch.no_grad():
        still = policy.condition(seen)
        assert still.shape == (6, 16 + 2 * 64)
        policy.train()
        moved = policy.condition(seen)
    assert torch.equal(still[:, :80], moved[:, :80]) and not torch.equal(still[:, 80:], moved[:, 80:])
    policy.eval()
    for camera in policy.cameras:
        changed = {**seen, camera: 255 - seen[camera]}
        assert not torch.equal(policy(changed), policy(seen))


def test_mistakes_are_named(groups):
    for options, complaint in (
        ({"horizon": 30}, "horizon 30 cannot be halved 2 times"),
        ({"execute": 33}, "not execute=33"),
        ({"warm_start": "hot"}, "'warm', 'cold'"),
        ({"steps": 0}, "steps: must be int from 1 to 100"),
        ({"vectors": ()}, "vectors: name at least one"),
        (
            {"cameras": ("wrist_depth",), "shifted": ("wrist_depth",), "shift": 99},
            "shift=99 pixels move the wrist_depth",
        ),
        ({"steps": 1, "warm_start": "cold"}, "steps=1 with warm_start=cold"),
        ({"cameras": ("robot",)}, "expected an image"),
    ):
        with pytest.raises(ValueError, match=complaint):
            make_policy("diffusion", groups, 4, **options)
