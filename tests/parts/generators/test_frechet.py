"""The Fréchet distance against scipy's matrix root, and features that depend on the data alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Splits, TensorData
from embodkd.data import make_data
from embodkd.parts.generators.frechet import embedded, embedding_of, frechet
from embodkd.parts.generators.watch import areas


def cloud(count, width, key):
    rng = np.random.default_rng(key)
    return torch.from_numpy(rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width))


@given(st.integers(1, 12), st.integers(0, 99))
def test_it_is_the_formula_with_scipys_root(width, key):
    sqrtm = pytest.importorskip("scipy.linalg").sqrtm
    a, b = cloud(40, width, (0, key)), cloud(30, width, (1, key))
    one, other = (np.atleast_2d(np.cov(x.numpy(), rowvar=False)) for x in (a, b))
    apart = a.mean(0) - b.mean(0)
    expected = apart.square().sum().item() + np.trace(one + other - 2 * np.real(sqrtm(one @ other)))
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert frechet(b, a) == pytest.approx(frechet(a, b), rel=1e-9, abs=1e-9)


def test_a_cloud_is_at_no_distance_from_itself_and_at_its_shift_from_a_shifted_one():
    a = cloud(50, 5, 0)
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet(a, a + 2.0) == pytest.approx(5 * 4.0)
    # N(0, 1) and N(0, 4) along one axis: (2 - 1)^2
    x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (x - x.mean()) / x.std()
    assert frechet(x, 2.0 * x) == pytest.approx(1.0)


def test_it_is_finite_with_fewer_items_than_features():
    assert math.isfinite(frechet(cloud(4, 12, 0), cloud(5, 12, 1)))


def test_features_are_a_function_of_the_data_and_tell_the_classes_apart():
    data = make_data("digits", train=600)
    state = torch.random.get_rng_state()
    embedding = embedding_of(data)
    assert torch.equal(state, torch.random.get_rng_state())
    assert embedding_of(make_data("digits", train=600)) is embedding
    assert embedding_of(make_data("digits", train=600, seed=1)) is not embedding
    found = embedded(embedding, data.test.fields["input"])
    assert (found["logits"].argmax(1) == data.test.fields["label"]).double().mean() > 0.9
    real = embedded(embedding, data.validation.fields["input"])["embedding"]
    noise = embedded(embedding, torch.rand(500, 1, 8, 8))["embedding"]
    assert frechet(found["embedding"], real) < 0.2 * frechet(noise, real)


def test_points_of_a_plane_are_their_own_features():
    x = torch.randn(40, 2)
    part = {
        name: TensorData({"input": x, "label": (x[:, 0] > 0).long(), "sample_id": 40 * k + torch.arange(40)})
        for k, name in enumerate(("train", "validation", "test"))
    }
    data = Splits(**part, classes=2, shape=(2,))
    assert torch.equal(embedded(embedding_of(data), x)["embedding"], x.double())


def test_areas_are_means_over_time():
    assert areas([5], [3.0]) == {"fd_area": 3.0, "fd_early": 3.0, "fd_last": 3.0}
    # a straight line from 6 to 0: 3 on average, 5 over its first third
    found = areas([10, 20, 25, 40], [6.0, 4.0, 3.0, 0.0])
    assert found == {"fd_area": pytest.approx(3.0), "fd_early": pytest.approx(5.0), "fd_last": 0.0}
