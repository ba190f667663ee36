"""DisBack: what moves the generator, where that leads a Gaussian, what is recorded, and the way back."""

import copy
import math

import pytest
import torch
from rows import C, D, blobs, budget, large_denoiser, small_denoiser
from toy import fingerprint

from embodkd.core import Context, Optimiser, Process, Signals, Splits, Stage, TensorData, Trainer
from embodkd.methods import get_method
from embodkd.models import make_model
from embodkd.parts.generators.one_step import Guided, OneStepViews

DisBack, Denoise = get_method("disback"), get_method("denoise")
CONTEXT = Context(None, 0, torch.device("cpu"))
OWN = {"begin": "own", "snapshots": 3, "recorded": 12, "interval": 2, "ratio": 2}


def made(method, student=None, teacher=None, seed=5, data=None, **options):
    torch.manual_seed(0)
    generator, given = student or small_denoiser(), teacher or large_denoiser()
    recipe = method.recipe(generator, given, data or blobs(), seed=seed, budget=budget(**options))
    return recipe, generator, given


def climbing(recipe):
    """(the last stage, the generator's player)."""
    stage = [stage for stage in recipe.stages if isinstance(stage, Stage)][-1]
    return stage, stage.players[1]


def conditional(**options):
    return make_model("denoiser", (D,), C, width=8, blocks=1, levels=50, conditional=True, **options)


@pytest.mark.parametrize("weight", ["dmd", "uniform", "sigma2"])
def test_the_gradient_of_a_sample_is_the_formula_over_the_number_of_elements(weight):
    recipe, generator, _ = made(DisBack(**OWN, weight=weight))
    stage, player = climbing(recipe)
    recipe.stages[0](CONTEXT)
    batch = stage.source.gather(torch.arange(9).numpy(), 0)
    batch = player.at(batch.merge(**stage.prepare[0](batch)), 0, 6)
    one = OneStepViews(generator, {"fake": (0, 49), "real": (1, 49)})
    answer = player.train.signals(batch)["answer"].detach().requires_grad_()
    fake, target = (torch.randn(9, D, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    values = player.terms(
        batch, Signals({"answer": answer}), fake=Signals({"answer": fake}), target=Signals({"answer": target})
    )
    x = one.sample(answer, batch)
    # by hand: D = (x_t - sigma eps) / alpha
    process, level = generator.process, batch["real_level"]
    alpha, sigma = process.alpha(level, x), process.sigma(level, x)
    x_t = alpha * x.detach() + sigma * batch["real_noise"]
    d_fake, d_target = (x_t - sigma * fake) / alpha, (x_t - sigma * target) / alpha
    step = {
        "uniform": d_fake - d_target,
        "sigma2": alpha * (d_fake - d_target),
        "dmd": (d_fake - d_target) / (x.detach() - d_target).abs().mean(1, keepdim=True),
    }[weight]
    (gradient,) = torch.autograd.grad(values["climb"].mean(), answer)
    start = generator.jump
    through = -process.sigma(start, x) / process.alpha(start, x)
    torch.testing.assert_close(gradient, through * step / x.numel(), rtol=1e-4, atol=1e-7)


def test_a_fake_net_that_is_the_target_moves_nothing_unless_the_target_is_guided():
    for guidance, moved in ((1.0, False), (3.0, True)):
        teacher = conditional()
        recipe, generator, _ = made(
            DisBack(snapshots=0, begin="own", guidance=guidance), conditional(steps=1, jump=30), teacher
        )
        for step in recipe.stages[:-1]:
            step(CONTEXT)
        stage, player = climbing(recipe)
        batch = stage.source.gather(torch.arange(9).numpy(), 0)
        batch = player.at(batch.merge(**stage.prepare[0](batch)), 0, 6)
        s = player.train.signals(batch)
        seen = batch.merge(**{"s.answer": s["answer"]})
        values = player.terms(batch, s, **{name: one.signals(seen) for name, one in player.given.items()})
        values["climb"].mean().backward()
        assert any(p.grad is not None and p.grad.abs().max() > 1e-6 for p in generator.parameters()) == moved
    with pytest.raises(ValueError, match="conditional=true"):
        made(DisBack(**OWN, guidance=2.0))


def test_guidance_is_the_weighted_sum_of_two_answers():
    class Says:
        def signals(self, batch):
            return Signals({"answer": batch["label"].float()[:, None] + 1.0})

    batch = Signals({"label": torch.tensor([0, 1, 2])})
    found = Guided(Says(), 3.0, 7).signals(batch)["answer"].flatten()
    assert found.tolist() == [8 + 3 * (label + 1 - 8) for label in (0, 1, 2)]
    assert torch.equal(Guided(Says(), 1.0, 7).signals(batch)["answer"], Says().signals(batch)["answer"])


@pytest.mark.parametrize("weight", ["uniform", "sigma2"])
def test_the_mean_step_of_a_gaussian_is_the_analytic_one(weight):
    """Data N(0, 1), generator N(m, s^2), both denoisers known; at m = 0, s = 1 nothing moves."""
    process, t = Process(levels=50), 20
    x = torch.randn(400_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha, sigma = process.alpha(t, x), process.sigma(t, x)
    for m, s in ((0.7, 0.5), (0.0, 1.0)):
        sample = m + s * x
        x_t = process.add_noise(sample, x.roll(1, 0).flip(0), t)
        target = alpha * x_t / (alpha**2 + sigma**2)
        fake = m + alpha * s**2 * (x_t - alpha * m) / (alpha**2 * s**2 + sigma**2)
        step = process.score_difference(sample, target, fake, t, weight).mean()
        expected = m * sigma**2 / (alpha**2 + sigma**2) * (alpha if weight == "sigma2" else 1.0)
        assert step.item() == pytest.approx(expected.item(), abs=3e-3)


def test_the_steps_lead_a_gaussian_generator_to_the_data():
    """G(z) = m + s z; the fake denoiser is exact at each step."""
    process = Process(levels=50)
    m, s = torch.tensor(1.5, requires_grad=True), torch.tensor(0.3, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(600):
        z, eps = (torch.randn(256, 1, generator=generator) for _ in range(2))
        t = torch.randint(1, 50, (256,), generator=generator)
        x = m + s * z
        x_t = process.add_noise(x.detach(), eps, t)
        alpha, sigma = process.alpha(t, x), process.sigma(t, x)
        with torch.no_grad():
            target = alpha * x_t / (alpha**2 + sigma**2)
            fake = m + alpha * s**2 * (x_t - alpha * m) / (alpha**2 * s**2 + sigma**2)
        step = process.score_difference(x.detach(), target, fake, t, "uniform")
        grads = torch.autograd.grad(0.5 * (x - (x - step).detach()).square().mean(), (m, s))
        with torch.no_grad():
            for value, grad in zip((m, s), grads, strict=True):
                value -= 0.1 * grad
    assert abs(m.item()) < 0.1 and abs(s.item() - 1.0) < 0.15


def test_without_snapshots_it_is_score_distillation_from_the_teacher():
    recipe, _, teacher = made(DisBack(begin="own", snapshots=0))
    assert len([stage for stage in recipe.stages if isinstance(stage, Stage)]) == 1
    path = recipe.stages[0]
    path(CONTEXT)
    assert path.place(0) == path.place(10**6) == 0
    for name, value in teacher.state_dict().items():
        assert torch.equal(path.state(0)[name], value)
    fake = recipe.stages[2].players[0].train.model
    with torch.no_grad():
        next(fake.parameters()).zero_()
    recipe.stages[1](CONTEXT)
    assert all(torch.equal(a, b) for a, b in zip(fake.parameters(), teacher.parameters(), strict=True))


def test_the_path_goes_from_the_last_state_back_to_the_teacher():
    recipe, generator, teacher = made(DisBack(**OWN), updates=12)
    before = copy.deepcopy(teacher.state_dict())
    seen = []

    class Watched(Trainer):
        def _update(self, *args, **kwargs):
            seen.append(fingerprint(generator))
            return super()._update(*args, **kwargs)

    Watched(quiet=True, seed=1).fit(recipe)
    assert len(seen) == 12 + 12 and len(set(seen[:13])) == 1, "stage 1 leaves the generator as it is"
    assert len(set(seen[13:])) > 1
    path, (_, player) = recipe.stages[0], climbing(recipe)
    assert path.updates == [12, 8, 4, 0]
    assert all(torch.equal(path.state(3)[name], value) for name, value in before.items())
    turns = [
        path.place(int(player.at(blobs().train.gather(torch.arange(2).numpy(), 0), k, 12)["node"][0]))
        for k in range(12)
    ]
    assert turns == [1, 1, 2, 2] + [3] * 8
    states = [path.state(k)["head.weight"] for k in range(4)]
    assert all(not torch.equal(a, b) for a, b in zip(states, states[1:], strict=False))


def test_orders_of_the_path():
    assert DisBack().places(4, 0) == [1, 2, 3, 4] and DisBack().places(0, 0) == [0] and DisBack().places(1, 0) == [1]
    shuffled = [DisBack(path="shuffled").places(9, seed) for seed in range(5)]
    assert all(sorted(one) == list(range(1, 10)) and one[-1] == 9 for one in shuffled)
    assert len({tuple(one) for one in shuffled}) == 5


def eight(n=512):
    """Eight Gaussians on a circle."""
    parts = {}
    for k, name in enumerate(("train", "validation", "test")):
        generator = torch.Generator().manual_seed(k)
        label = torch.randint(8, (n,), generator=generator)
        angle = label * (2 * math.pi / 8)
        x = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2, generator=generator)
        parts[name] = TensorData({"input": x, "label": label, "sample_id": k * n + torch.arange(n)})
    return Splits(**parts, classes=8, shape=(2,))


def points(steps, width=64, **options):
    scale = {"centre": 0.0, "spread": 1.0, "prediction": "v_prediction"}
    return make_model("denoiser", (2,), 8, width=width, blocks=2, steps=steps, **scale, **options)


def far(generator):
    """Its samples lie beside the circle."""
    with torch.no_grad():
        generator.head.bias.add_(2.5)
    return generator


def test_the_last_state_fits_the_untrained_generator_best_and_real_data_worst():
    """Denoising losses at both ends, on the same noise."""
    data = eight()
    torch.manual_seed(0)
    teacher, student = points(50), far(points(1, width=16, jump=500))
    Trainer(quiet=True, seed=0).fit(Denoise().recipe(teacher, None, data, budget=budget(updates=250)))
    recipe, _, _ = made(DisBack(begin="own", snapshots=4, recorded=120), student, teacher, data=data)
    untrained = copy.deepcopy(student)
    Trainer(quiet=True, seed=0).fit(recipe)
    path, net = recipe.stages[0], copy.deepcopy(teacher)
    noise = torch.randn(512, 2, generator=torch.Generator().manual_seed(9))
    clouds = {"own": untrained.generate(noise), "real": data.test.fields["input"]}

    def loss(place, cloud):
        net.load_state_dict(path.state(place))
        torch.manual_seed(3)
        noised = teacher.process.draw(clouds[cloud])
        target = teacher.process.target(clouds[cloud], noised)
        with torch.no_grad():
            return (net({"noisy": noised.x_t, "level": noised.t})["answer"] - target).square().mean().item()

    assert loss(0, "own") < 0.8 * loss(4, "own")
    assert loss(0, "real") > 1.2 * loss(4, "real")


def test_a_generator_comes_to_the_data_by_it():
    data = eight()
    torch.manual_seed(0)
    teacher, long = points(50), {"batch_size": 64, "optimiser": Optimiser("adam", 0.003)}
    Trainer(quiet=True, seed=0).fit(Denoise().recipe(teacher, None, data, budget=budget(updates=300, **long)))
    method = DisBack(
        snapshots=2, recorded=40, interval=40, ratio=2, watch=80, samples=400, weight="uniform", begin="own"
    )
    recipe, _, _ = made(method, far(points(1, jump=500)), teacher, data=data, updates=240, **long)
    Trainer(quiet=True, seed=0).fit(recipe)
    watch = next(step for step in recipe.stages if type(step).__name__ == "FrechetWatch")
    assert watch.updates == [40, 120, 200, 280] and watch.curve[-1] < 0.3 * watch.curve[0]
    assert recipe.stages[-1](CONTEXT)["fd_last"] == watch.curve[-1]


@pytest.mark.parametrize(
    ("student", "options", "complaint"),
    [
        ({"steps": 2}, {}, "student.steps=2; give 1"),
        ({"levels": 60}, {}, "same schedule, levels"),
        ({}, {"begin": "teacher"}, "give begin=own"),
        ({}, {"levels": (0.5, 0.5)}, "must rise"),
    ],
)
def test_mistakes_are_named(student, options, complaint):
    own = make_model("denoiser", (D,), C, **{"width": 8, "blocks": 1, "levels": 50, "steps": 1, **student})
    with pytest.raises(ValueError, match=complaint):
        made(DisBack(**{**OWN, **options}), own)


def test_who_is_no_denoiser_is_told_so():
    mlp = make_model("mlp", (D,), C)
    with pytest.raises(ValueError, match="the student must be a denoiser, got a MLP"):
        made(DisBack(**OWN), mlp)
    with pytest.raises(ValueError, match="the teacher must be a denoiser"):
        made(DisBack(**OWN), teacher=mlp)
    with pytest.raises(ValueError, match="choose model=denoiser"):
        Denoise().recipe(mlp, None, blobs(), budget=budget())
