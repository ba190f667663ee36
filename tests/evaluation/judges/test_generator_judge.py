"""Generators are judged by samples of fixed noise; who answers in another label space is not judged."""

import math

import pytest
import torch

from embodkd.core import DataSet
from embodkd.data import make_data
from embodkd.evaluation.judges import better, judge_of
from embodkd.evaluation.judges.generator import Made, class_entropy, fd, precision, recall, within
from embodkd.models import make_model


@pytest.fixture(scope="module")
def data() -> DataSet:
    return make_data("digits", train=600)


def net(**options):
    torch.manual_seed(0)
    return make_model("denoiser", (1, 8, 8), 10, width=16, blocks=1, steps=1, jump=600, **options)


def test_the_measures_are_functions_of_features_and_logits():
    real = torch.randn(60, 5)
    logits = torch.eye(4).repeat(5, 1) * 20.0
    made = Made(real + 1.0, logits, real)
    assert fd(made) == pytest.approx(5.0, rel=1e-4)
    assert class_entropy(made) == pytest.approx(math.log(4))
    one = Made(real, torch.eye(4)[:1].expand(9, -1), real)
    assert class_entropy(one) == pytest.approx(0.0) and precision(one) == recall(one) == 100.0


def test_a_sample_lies_among_real_items_as_near_to_one_as_its_third_neighbour():
    real, sample = (
        torch.randn(n, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (30, 50)
    )
    by_hand = []
    for one in sample * 1.5:
        found = False
        for k, item in enumerate(real):
            others = sorted((item - other).norm().item() for j, other in enumerate(real) if j != k)
            found = found or (one - item).norm().item() <= others[2]
        by_hand.append(found)
    assert within(sample * 1.5, real).tolist() == by_hand and 0 < sum(by_hand) < 50
    assert not within(sample + 100.0, real).any()


def test_a_denoiser_is_judged_as_a_generator_and_twice_alike(data):
    judge, product = judge_of(net(), data), net()
    found = judge.measured(product, data)
    assert found.keys() == {"fd", "class_entropy", "precision", "recall"} and found == judge.measured(product, data)
    assert better("fd") == "lower" and better("precision") == "higher"


def test_real_digits_are_nearer_than_noise_and_have_all_classes(data):
    class Real(torch.nn.Module):
        judged_as = "generator"

        def __init__(self):
            super().__init__()
            self.one = torch.nn.Parameter(torch.zeros(1))

        def generate(self, noise, label):
            return data.train.fields["input"][torch.arange(len(noise)) % 600] + 0.1 * noise

    real, noise = (judge_of(one, data).measured(one, data) for one in (Real(), net()))
    assert real["fd"] < 0.2 * noise["fd"] and real["class_entropy"] > 2.2
    assert real["precision"] > 80.0 and real["recall"] > 60.0 and noise["precision"] < 5.0


def test_one_outcome_per_sample_with_the_measures_beside(data):
    result = judge_of(net(), data).evaluated(net(), data, {"name": "digits"})
    assert result.episodes == 2000 and result.protocol["unit"] == "samples"
    share = sum(one.success for one in result.outcomes) / 20
    assert result.manifest["measures"]["precision"] == pytest.approx(share)
    assert all(one.success or one.failure.startswith("unlike real items") for one in result.outcomes)


def test_who_answers_in_another_label_space_has_no_measures_and_says_why(data):
    model = make_model("efficientnet_lite0", (1, 32, 32), 10, pretrained=False, head="imagenet")
    assert model.classes == 1000 and model.eval()(torch.rand(2, 1, 32, 32))["logits"].shape == (2, 1000)
    judge = judge_of(model, data)
    assert judge.measured(model, data) == {}
    with pytest.raises(ValueError, match="1000 classes of its own, the data have 10"):
        judge.evaluated(model, data, {"name": "digits"})
    own = make_model("efficientnet_lite0", (1, 32, 32), 10, pretrained=False)
    assert own.judged_as == "classifier" and own.classes == 10
