"""Noise and the way back are diffusers' own, and differences of scores lead a Gaussian where they should."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from embodkd.core import Process, Role, Signals
from embodkd.core.batch.whole import Portion, looking_at
from embodkd.core.config.schema import build

pytest.importorskip("diffusers")

KEEPING = ("linear", "scaled_linear", "squaredcos_cap_v2")
SHAPES = [(6, 3, 4, 4), (6, 16, 2), (6, 2), (6,)]
WAYS = [(s, p) for s in KEEPING for p in ("epsilon", "sample", "v_prediction")]
WAYS += [("edm", p) for p in ("epsilon", "sample", "v_prediction", "edm")]


def normal(*shape, key=0):
    return torch.from_numpy(np.random.default_rng((key, *shape)).normal(size=shape))


LEVELS = torch.tensor([0, 1, 17, 50, 98, 99])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("schedule", KEEPING)
def test_noise_is_added_as_diffusers_adds_it(schedule, shape):
    from diffusers import DDPMScheduler

    process = Process(schedule, levels=100)
    x0, eps = normal(*shape).float(), normal(*shape, key=1).float()
    theirs = DDPMScheduler(num_train_timesteps=100, beta_start=1e-4, beta_end=0.02, beta_schedule=schedule)
    expected = theirs.add_noise(x0, eps, LEVELS)
    torch.testing.assert_close(process.add_noise(x0, eps, LEVELS), expected, atol=1e-6, rtol=1e-5)
    found = Process(schedule, levels=100, prediction="v_prediction").to_v(
        theirs.get_velocity(x0, eps, LEVELS), expected, LEVELS
    )
    torch.testing.assert_close(found, Process(schedule, levels=100).to_v(eps, expected, LEVELS), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(process.alpha(5, x0).square() + process.sigma(5, x0).square(), torch.tensor(1.0))


def test_edm_noise_and_preconditioning_are_those_of_diffusers():
    process = Process("edm", levels=100, prediction="edm")
    theirs = process.scheduler()
    theirs.set_timesteps(100)
    x0, eps, answer = (normal(6, 3, 4, key=k).float() for k in range(3))
    times = theirs.timesteps.flip(0)[LEVELS]
    x_t = process.add_noise(x0, eps, LEVELS)
    expected = torch.cat([theirs.add_noise(x0[k, None], eps[k, None], times[k, None]) for k in range(6)])
    torch.testing.assert_close(x_t, expected)
    sigma = process.sigma(LEVELS, x0)
    assert sigma.flatten().diff().gt(0).all() and sigma[0].item() == pytest.approx(0.002) and sigma[-1].item() == 80.0
    seen, time = process.shown(x_t, LEVELS)
    torch.testing.assert_close(seen, theirs.precondition_inputs(x_t, sigma))
    torch.testing.assert_close(time, theirs.precondition_noise(sigma).flatten())
    torch.testing.assert_close(process.to_x0(answer, x_t, LEVELS), theirs.precondition_outputs(x_t, answer, sigma))


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("schedule", KEEPING)
def test_what_an_answer_means_is_what_diffusers_steps_by(schedule, prediction):
    process = Process(schedule, levels=100, prediction=prediction)
    theirs = process.scheduler()
    theirs.set_timesteps(100)
    answer, x_t = normal(1, 4, 3).float(), normal(1, 4, 3, key=1).float()
    for t in (0, 30, 90):
        found = theirs.step(answer, t, x_t)
        torch.testing.assert_close(process.to_x0(answer, x_t, t), found.pred_original_sample, atol=1e-4, rtol=1e-4)
        before = torch.tensor(1.0) if t == 0 else theirs.alphas_cumprod[t - 1]
        mine = before.sqrt() * process.to_x0(answer, x_t, t) + (1 - before).sqrt() * process.to_eps(answer, x_t, t)
        torch.testing.assert_close(mine, found.prev_sample, atol=1e-4, rtol=1e-4)


@settings(max_examples=40)
@given(st.sampled_from(WAYS), st.sampled_from(SHAPES), st.integers(0, 999))
def test_a_right_answer_gives_back_data_noise_and_v(way, shape, key):
    process = Process(way[0], levels=100, prediction=way[1])
    x0 = normal(*shape, key=key)
    torch.manual_seed(key)
    noised = process.draw(x0)
    assert torch.equal(noised.x_t, process.add_noise(x0, noised.eps, noised.t))
    answer, at = process.target(x0, noised), (noised.x_t, noised.t)
    close = {"atol": 1e-5, "rtol": 1e-6}
    torch.testing.assert_close(process.to_x0(answer, *at), x0, **close)
    torch.testing.assert_close(process.to_eps(answer, *at), noised.eps, **close)
    alpha, sigma = process.alpha(noised.t, x0), process.sigma(noised.t, x0)
    torch.testing.assert_close(process.to_v(answer, *at), alpha * noised.eps - sigma * x0, **close)
    torch.testing.assert_close(process.score(process.to_x0(answer, *at), *at), -noised.eps / sigma, **close)


@settings(max_examples=30)
@given(st.sampled_from(WAYS), st.integers(0, 999))
def test_errors_of_an_answer_are_weighted_errors_of_the_data(way, key):
    process = Process(way[0], levels=100, prediction=way[1], sigma_data=0.7)
    x0, wrong = normal(6, 5, key=key), normal(6, 5, key=key + 1)
    noised = process.draw(x0)
    answer = process.target(x0, noised) + wrong
    data = (process.to_x0(answer, noised.x_t, noised.t) - x0).square().mean(1)
    name = {"epsilon": "snr", "sample": "uniform", "edm": "edm"}.get(way[1])
    snr = process.weighting(noised.t, "snr")
    alpha, sigma = process.alpha(noised.t, snr), process.sigma(noised.t, snr)
    weight = process.weighting(noised.t, name) if name else ((alpha**2 + sigma**2) / sigma).square()
    torch.testing.assert_close(weight * data, wrong.square().mean(1), atol=1e-8, rtol=1e-6)
    assert torch.equal(process.weighting(noised.t, "min_snr", 2.0), snr.clamp(max=2.0))


def gaussian(mean, std, x_t, process, t):
    """The exact denoiser of N(mean, std^2)."""
    alpha, sigma = process.alpha(t, x_t), process.sigma(t, x_t)
    return mean + alpha * std**2 * (x_t - alpha * mean) / (alpha**2 * std**2 + sigma**2)


@settings(max_examples=40)
@given(st.sampled_from([*KEEPING, "edm"]), st.floats(-3, 3), st.floats(0.2, 3), st.integers(1, 98), st.integers(0, 999))
def test_the_score_difference_of_two_gaussians_is_what_it_is_on_paper(schedule, mean, std, level, key):
    process = Process(schedule, levels=100)
    # each draw beside its opposite: the mean of what is linear in them is exact
    half = normal(2, 50, key=key)
    base, eps = torch.cat([half, -half], 1).unbind(0)
    x = mean + std * base
    t = torch.full((100,), level)
    x_t = process.add_noise(x, eps, t)
    target, fake = gaussian(0.0, 1.0, x_t, process, t), gaussian(mean, std, x_t, process, t)
    alpha, sigma = process.alpha(level, x), process.sigma(level, x)
    expected = mean * sigma**2 / (alpha**2 + sigma**2)
    close = {"atol": 1e-9, "rtol": 1e-9}
    torch.testing.assert_close(process.score_difference(x, target, fake, t, "uniform").mean(), expected, **close)
    scaled = process.score_difference(x, target, fake, t, "sigma2")
    torch.testing.assert_close(scaled.mean(), alpha * expected, **close)
    scores = process.score(fake, x_t, t) - process.score(target, x_t, t)
    torch.testing.assert_close(scaled, sigma**2 * scores, atol=1e-8, rtol=1e-6)
    same = gaussian(0.0, 1.0, process.add_noise(base, eps, t), process, t)
    assert process.score_difference(base, same, same.clone(), t, "dmd").eq(0).all()


@pytest.mark.parametrize("weight", ["uniform", "sigma2", "dmd"])
def test_samples_that_follow_the_difference_become_the_targets(weight):
    process = Process("squaredcos_cap_v2", levels=100)
    mean, log_std = torch.full((16,), 2.0, dtype=torch.float64), torch.full((16,), -1.0, dtype=torch.float64)
    torch.manual_seed(0)
    for _ in range(400):
        base = torch.randn(256, 16, dtype=torch.float64)
        x = mean + log_std.exp() * base
        noised = process.draw(x, 2, 98)
        fakes = gaussian(mean, log_std.exp(), noised.x_t, process, noised.t)
        g = process.score_difference(x, gaussian(0.0, 1.0, noised.x_t, process, noised.t), fakes, noised.t, weight)
        mean -= 0.1 * g.mean(0)
        log_std -= 0.1 * (g * log_std.exp() * base).mean(0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=0.1, rtol=0)
    torch.testing.assert_close(log_std, torch.zeros_like(log_std), atol=0.1, rtol=0)


def test_the_dmd_weight_is_by_sample_scale_free_and_zero_where_nothing_is_to_be_learned():
    process, t = Process(levels=100), torch.tensor([3, 50])
    x, target, fake = (normal(2, 3, 4, key=k) for k in range(3))
    g = process.score_difference(x, target, fake, t)
    for k in range(2):
        torch.testing.assert_close(g[k], (fake[k] - target[k]) / (x[k] - target[k]).abs().mean())
    torch.testing.assert_close(process.score_difference(7 * x, 7 * target, 7 * fake, t), g)
    assert process.score_difference(x, x, x, t).eq(0).all() and process.score_difference(x, x, fake, t).eq(0).all()
    asked = x.clone().requires_grad_()
    assert not process.score_difference(asked, asked * 0.5, asked * 0.2, t).requires_grad


@given(st.permutations(range(6)), st.integers(1, 6))
def test_an_items_noise_depends_on_its_place_alone(order, count):
    process, x0 = Process(levels=100), normal(6, 3)
    torch.manual_seed(5)
    whole = process.draw(x0, 20, 80)
    assert whole.t.min() >= 20 and whole.t.max() <= 80
    here = torch.tensor(order[:count])
    torch.manual_seed(5)
    with looking_at(Portion(here, 6)):
        part = process.draw(x0[here], 20, 80)
    assert all(torch.equal(a, b[here]) for a, b in zip(part, whole, strict=True))


def test_both_ends_of_a_range_of_levels_are_drawn():
    torch.manual_seed(0)
    drawn = Process(levels=100).draw(torch.zeros(2000, 1), 20, 24).t
    assert drawn.unique().tolist() == [20, 21, 22, 23, 24]


class Analytic(nn.Module):
    """Answers as the best network for N(1.5, 0.5^2) would, in whatever it is asked for."""

    def __init__(self, process):
        super().__init__()
        self.process, self.seen = process, []

    def forward(self, batch):
        x, level = batch["noisy"], batch["level"]
        self.seen.append(level[0].item())
        if self.process.schedule == "edm":
            sigma = (4 * level).exp().reshape(-1, 1)
            x = x * (sigma**2 + self.process.sigma_data**2).sqrt()
            alpha = torch.ones_like(sigma)
        else:
            alpha, sigma = self.process.alpha(level, x), self.process.sigma(level, x)
        x0 = 1.5 + alpha * 0.25 * (x - 1.5 * alpha) / (alpha**2 * 0.25 + sigma**2)
        if self.process.prediction == "edm":
            skip, out = self.process._edm(sigma)
            return (x0 - skip * x) / out
        eps = (x - alpha * x0) / sigma
        return {"epsilon": eps, "sample": x0, "v_prediction": alpha * eps - sigma * x0}[self.process.prediction]


@pytest.mark.parametrize(("schedule", "prediction"), WAYS)
def test_sampling_leads_noise_to_the_data_and_again_to_the_same(schedule, prediction):
    process = Process(schedule, levels=1000, prediction=prediction)
    model = Analytic(process)
    role = Role(model, "frozen", view=lambda batch: {n: batch[n] for n in ("noisy", "level")}, output="answer")
    noise = torch.linspace(-2, 2, 9)[:, None].expand(9, 2).contiguous()
    found = process.sample(role, noise, Signals(other=torch.zeros(9)), steps=200)
    # what an ordinary differential equation makes of a Gaussian is a straight line
    torch.testing.assert_close(found, 1.5 + 0.5 * noise, atol=0.03, rtol=0)
    first = process.shown(noise, 999)[1][0].item()
    assert len(model.seen) == 200 and model.seen == sorted(model.seen, reverse=True)
    assert model.seen[0] == pytest.approx(first)
    assert torch.equal(found, process.sample(role, noise, steps=200))


def test_it_is_data_and_mistakes_are_named():
    assert build(Process, {"schedule": "edm", "prediction": "edm", "levels": 18}, "process") == Process(
        "edm", 18, "edm"
    )
    with pytest.raises(ValueError, match="schedule: 'cosine' is not one of linear, scaled_linear"):
        Process("cosine")
    with pytest.raises(ValueError, match="prediction: 'x0' is not one of epsilon"):
        Process(prediction="x0")
    with pytest.raises(ValueError, match="edm belongs to schedule=edm, not to linear"):
        Process(prediction="edm")
    with pytest.raises(ValueError, match=r"levels 5..1000: must rise within 0..999"):
        Process().draw(torch.zeros(1), 5, 1000)
    with pytest.raises(ValueError, match="score weight: 'sds'"):
        Process().score_difference(torch.zeros(1), torch.zeros(1), torch.zeros(1), 0, "sds")
    with pytest.raises(ValueError, match="weighting: 'p2' is not one of uniform, snr"):
        Process().weighting(torch.tensor([0]), "p2")
