"""FitNets: two stages that move what they should, regressors of every kind, and one budget."""

import pytest
import torch
from rows import blobs, budget, images, large, large_cnn, small, small_cnn
from toy import fingerprint

from embodkd.core import Budget, Recipe, Signals, Trainer
from embodkd.methods.fitnets import FitNets
from embodkd.models import make_model
from embodkd.parts.networks.features import projector


def test_the_hint_stage_moves_the_student_up_to_the_guided_layer_only():
    torch.manual_seed(0)
    student, teacher, data = small(), large(), blobs()
    recipe = FitNets().recipe(student, teacher, data, budget=budget())
    hints, answers = recipe.stages
    before = {name: fingerprint(module) for name, module in student.named_modules()}
    regressor = hints.players[0].helpers["regressor"]
    first = fingerprint(regressor)
    Trainer(quiet=True).fit(Recipe((hints,), student))
    changed = {name for name, module in student.named_modules() if fingerprint(module) != before[name]}
    assert changed == {"", "layers", "layers.0", "layers.0.0"} and fingerprint(regressor) != first
    last = fingerprint(regressor)
    Trainer(quiet=True).fit(Recipe((answers,), student))
    assert fingerprint(student.classifier) != before["classifier"] and fingerprint(regressor) == last
    assert not answers.players[0].helpers


def test_the_hint_is_the_mean_squared_error_through_the_regressor():
    data = blobs()
    (hints, _) = FitNets(student_tap="layers.1").recipe(small(), large(), data, budget=budget()).stages
    (player,) = hints.players
    regressor = player.helpers["regressor"]
    assert (regressor.in_features, regressor.out_features) == (8, 16)
    s, t = (torch.randn(5, n) for n in (8, 16))
    found = player.terms(Signals(), Signals(hint=s), Signals(hint=t))["hint"]
    expected = (s @ regressor.weight.T + regressor.bias - t).square().mean(1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_extreme_hints_have_finite_values_and_gradients(precision):
    (hints, _) = FitNets().recipe(small(), large(), blobs(), budget=budget()).stages
    s, t = ((1e4 * torch.randn(5, n)).to(precision).requires_grad_() for n in (8, 16))
    value = hints.players[0].terms(Signals(), Signals(hint=s), Signals(hint=t))["hint"]
    value.sum().backward()
    assert value.isfinite().all() and s.grad.isfinite().all() and t.grad is None


def test_hints_lower_the_distance_that_they_are_about():
    torch.manual_seed(0)
    student, teacher, data = small(), large(), blobs()
    hints = FitNets().recipe(student, teacher, data, budget=budget(60)).stages[0]
    (player,) = hints.players
    batch = data.test.gather(torch.arange(24).numpy(), 0)

    def distance():
        with torch.no_grad():
            return player.terms(batch, player.train.signals(batch), player.given["t"].signals(batch))["hint"].mean()

    first = distance()
    Trainer(quiet=True).fit(Recipe((hints,), student))
    assert distance() < 0.5 * first


@pytest.mark.parametrize(
    ("student", "teacher"), [((4,), (7,)), ((5, 4), (5, 7)), ((4, 8, 6), (7, 8, 6)), ((4, 8, 6), (7, 3, 6))]
)
def test_a_projector_leads_to_the_teachers_shape_and_is_linear(student, teacher):
    model = projector(student, teacher).double()
    a, b = torch.randn(2, 3, *student, dtype=torch.float64)
    assert model(a).shape == (3, *teacher)
    torch.testing.assert_close(model(a + b) + model(torch.zeros_like(a)), model(a) + model(b))


@pytest.mark.parametrize(
    ("student", "teacher", "why"),
    [((4,), (7, 8, 8), "one kind"), ((4, 4, 4), (7, 8, 8), "larger one"), ((4, 3), (5, 3), "equal length")],
)
def test_shapes_that_no_projector_joins_are_refused(student, teacher, why):
    with pytest.raises(ValueError, match=why):
        projector(student, teacher)


def test_maps_of_another_size_are_joined_by_a_valid_convolution():
    teacher = make_model("cnn", (1, 8, 8), 3, widths=(8, 16, 16))
    student, data = small_cnn(), images()
    hints = (
        FitNets(student_tap="layers.1", teacher_tap="layers.2")
        .recipe(student, teacher, data, budget=budget())
        .stages[0]
    )
    assert hints.players[0].helpers["regressor"].kernel_size == (3, 3)
    Trainer(quiet=True).fit(Recipe((hints,), student))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.99])
def test_both_stages_together_have_the_whole_budget(share):
    data = blobs()
    for whole in (Budget(epochs=7, batch_size=16), Budget(updates=9, batch_size=16)):
        stages = FitNets(hint_share=share).recipe(small(), large(), data, budget=whole).stages
        plain = FitNets(hint_share=0.0).recipe(small(), large(), data, budget=whole).stages
        assert len(stages) == 2 and min(stage.updates() for stage in stages) > 0
        assert sum(stage.updates() for stage in stages) == sum(stage.updates() for stage in plain)


def test_a_budget_that_cannot_be_split_is_refused():
    for wrong, share in ((Budget(epochs=1), 0.5), (Budget(), 0.0), (Budget(updates=1), 0.5)):
        with pytest.raises(ValueError, match="cannot split"):
            wrong.split(share)
    with pytest.raises(ValueError, match="hint_share"):
        FitNets(hint_share=1.0)


def test_the_teachers_answers_count_less_and_less():
    (_, answers) = FitNets().recipe(small(), large(), blobs(), budget=budget()).stages
    weight = answers.players[0].ready_weights()["kd"]
    assert weight.at(0, 3) == 4.0 and weight.at(2, 3) == 1.0


def test_measure_is_one_for_the_teacher_itself_and_less_for_a_narrow_layer():
    data, teacher = blobs(n=240), large()
    assert FitNets().measures(teacher, teacher, data)["hint_r2"] == pytest.approx(1.0, abs=1e-3)
    narrow = make_model("mlp", data.shape, 3, hidden=(2, 2))
    assert FitNets().measures(narrow, teacher, data)["hint_r2"] < 0.9


def test_measure_pools_maps():
    assert FitNets().measures(large_cnn(), large_cnn(), images())["hint_r2"] < 1.0
