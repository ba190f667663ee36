"""Denoisers answer in the shape of their input, know level and class, and generate what their process says."""

import pytest
import torch

from embodkd.core import Role
from embodkd.models import make_model

SMALL = {"denoiser": {"width": 16, "blocks": 2}, "dit_denoiser": {"depth": 1, "heads": 2, "head_width": 8}}
every_denoiser = pytest.mark.parametrize("name", SMALL)
SHAPE = (1, 8, 8)


def net(name, **options):
    torch.manual_seed(0)
    made = make_model(name, SHAPE, 4, **{**SMALL[name], **options})
    with torch.no_grad():
        # a transformer's last layers begin at nought
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return made.eval()


def seen(level=(3, 500, 999), label=(0, 1, 4)):
    noisy = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1, -1)
    return {"noisy": noisy, "level": torch.tensor(level), "label": torch.tensor(label)}


@every_denoiser
def test_answers_have_the_shape_of_what_is_seen_and_depend_on_the_level(name):
    answer = net(name)(seen())["answer"]
    assert answer.shape == (3, *SHAPE)
    assert not torch.allclose(answer[0], answer[1], atol=1e-3) and not torch.allclose(answer[1], answer[2], atol=1e-3)


@every_denoiser
def test_only_a_conditional_one_is_told_the_class(name):
    for conditional in (False, True):
        model = net(name, conditional=conditional)
        assert ("label" in model.reads) == conditional
        answer = model(seen(level=(7, 7, 7)))["answer"]
        assert torch.allclose(answer[0], answer[1], atol=1e-6) != conditional


@every_denoiser
def test_an_item_does_not_depend_on_its_batch(name):
    model = net(name, conditional=True)
    whole = model(seen())["answer"]
    alone = model({key: value[1:2] for key, value in seen().items()})["answer"]
    torch.testing.assert_close(whole[1:2], alone, atol=1e-5, rtol=1e-4)


@every_denoiser
@pytest.mark.parametrize(
    ("schedule", "prediction"), [("linear", "epsilon"), ("edm", "edm"), ("linear", "v_prediction")]
)
def test_one_call_is_the_data_that_the_answer_means_in_units_of_the_data(name, schedule, prediction):
    model = net(name, schedule=schedule, prediction=prediction, steps=1, jump=600, centre=2.0, spread=3.0)
    noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    x_t = noise * model.process.sigma(600, noise) if schedule == "edm" else noise
    noisy, level = model.process.shown(x_t, 600)
    x0 = model.process.to_x0(model({"noisy": noisy, "level": level})["answer"], x_t, 600)
    torch.testing.assert_close(model.generate(noise), 2.0 + 3.0 * x0)
    torch.testing.assert_close(model.scaled(model.generate(noise)), x0, atol=1e-4, rtol=1e-4)


@every_denoiser
def test_several_calls_are_the_samplers(name):
    model = net(name, steps=5, conditional=True)
    noise, label = torch.randn(3, *SHAPE), torch.tensor([0, 1, 2])
    from embodkd.core import Signals

    sampled = model.process.sample(Role(model, "frozen", output="answer"), noise, Signals({"label": label}), steps=5)
    torch.testing.assert_close(model.generate(noise, label), 0.5 + 0.5 * sampled)
    assert not torch.allclose(model.generate(noise, label), model.generate(noise, label.flip(0)))


@pytest.mark.parametrize(
    ("name", "options", "shape", "complaint"),
    [
        ("denoiser", {"jump": 1000}, SHAPE, "no level of 0..999"),
        ("denoiser", {"schedule": "liner"}, SHAPE, "did you mean 'linear'"),
        ("denoiser", {"prediction": "edm"}, SHAPE, "belongs to schedule=edm"),
        ("dit_denoiser", {"patch": 3}, SHAPE, "squares that patch=3 divides"),
        ("dit_denoiser", {}, (2,), "reads images"),
    ],
)
def test_mistakes_are_named(name, options, shape, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_model(name, shape, 4, **options)
