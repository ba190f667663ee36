"""Influence against what it approximates: leaving one item out and training again; solvers against each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from embodkd.core import Role, TensorData, cross_entropy, kl
from embodkd.core.meta.influence import (
    along,
    as_losses,
    hessian_product,
    influence,
    mean_gradient,
    sample_weights,
    sampled_product,
)
from embodkd.core.meta.solvers import conjugate_gradient, dense, lissa

N, D, C = 120, 4, 3


def draw(n, seed, noise=0.7):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, D, generator=generator, dtype=torch.float64)
    noisy = x[:, :C] + noise * torch.randn(n, C, generator=generator, dtype=torch.float64)
    return x, noisy.argmax(1)


def logistic(x, y, ridge=0.02):
    """Items' losses of softmax regression with a ridge, as a function of its D * C parameters."""

    def losses(theta_P):
        return cross_entropy(x @ theta_P.view(D, C), y) + ridge * theta_P.square().sum()

    return losses


def fitted(losses, start=None):
    theta = (torch.zeros(D * C, dtype=torch.float64) if start is None else start).clone().requires_grad_()
    optimiser = torch.optim.LBFGS([theta], max_iter=500, tolerance_grad=1e-12, tolerance_change=0.0)

    def closure():
        optimiser.zero_grad()
        loss = losses(theta).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return theta.detach()


def solve(product, vector, damping=0.0):
    return dense(product, vector, damping=damping)


def test_scores_predict_what_leaving_each_item_out_does_to_the_validation_loss():
    (x, y), (vx, vy) = draw(N, 0), draw(200, 1)
    validation = logistic(vx, vy, ridge=0.0)
    at = fitted(logistic(x, y))
    scores = influence([logistic(x, y)], [validation], at, solve)
    before, changes = validation(at).mean(), []
    for n in range(N):
        keep = torch.arange(N) != n
        changes.append(validation(fitted(logistic(x[keep], y[keep]), at)).mean() - before)
    left_out = torch.stack(changes)
    assert np.corrcoef(scores / N, left_out)[0, 1] > 0.95
    clear = scores.abs() > scores.abs().quantile(0.5)
    assert (scores[clear].sign() == left_out[clear].sign()).all()


def test_a_mislabelled_item_gets_a_negative_score_and_a_small_weight():
    (x, y), (vx, vy) = draw(N, 0, noise=0.1), draw(200, 1, noise=0.1)
    right = influence([logistic(x, y)], [logistic(vx, vy, 0.0)], fitted(logistic(x, y)), solve)
    for n in range(8):
        wrong = y.clone()
        wrong[n] = x[n, :C].argmin()
        scores = influence([logistic(x, wrong)], [logistic(vx, vy, 0.0)], fitted(logistic(x, wrong)), solve)
        assert scores[n] < min(0.0, right[n]) and scores[n] <= scores.kthvalue(6).values
        weights = sample_weights(scores)
        assert weights[n] < 0.5 * weights.median()


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(D, 6), nn.Tanh(), nn.Linear(6, C))


def problem(layer=None, batch_size=50, model=None):
    """A small network's distillation losses in three batches, and its loss on validation labels."""
    role, teacher = Role(model or network()), Role(network(1), "frozen")
    (x, y), (vx, vy) = draw(N, 0), draw(40, 1)
    train = TensorData({"input": x.float(), "label": y})
    at, pieces = as_losses(
        role,
        train,
        lambda b, s, t: kl(s.logits_NC, t.logits_NC, temperature=2.0),
        {"t": teacher},
        layer=layer,
        batch_size=batch_size,
    )
    _, judged = as_losses(
        role,
        TensorData({"input": vx.float(), "label": vy}),
        lambda b, s: cross_entropy(s.logits_NC, b.label_N),
        layer=layer,
    )
    return at, pieces, judged


@pytest.mark.parametrize("layer", [None, "2"])
def test_products_and_gradients_are_those_of_the_dense_matrices(layer):
    at, pieces, judged = problem(layer)
    mean = lambda theta: torch.cat([losses(theta) for losses in pieces]).mean()  # noqa: E731
    hessian = torch.autograd.functional.hessian(mean, at)
    vector = torch.randn(len(at), dtype=torch.float64)
    torch.testing.assert_close(hessian_product(pieces, at)(vector), hessian @ vector)
    rows = torch.autograd.functional.jacobian(lambda theta: torch.cat([p(theta) for p in pieces]), at)
    torch.testing.assert_close(mean_gradient(pieces, at), rows.mean(0))
    torch.testing.assert_close(along(pieces, at, vector), rows @ vector)
    slope = torch.autograd.functional.jacobian(judged[0], at).mean(0)
    expected = rows @ torch.linalg.solve(hessian + 0.5 * torch.eye(len(at), dtype=torch.float64), slope)
    torch.testing.assert_close(influence(pieces, judged, at, lambda p, v: solve(p, v, 0.5)), expected)


def test_batches_do_not_matter_and_the_last_layer_is_that_part_of_the_whole():
    at, pieces, judged = problem("2", batch_size=7)
    one = influence(pieces, judged, at, lambda p, v: solve(p, v, 0.1))
    other = influence(*problem("2", batch_size=1000)[1:], at, lambda p, v: solve(p, v, 0.1))
    torch.testing.assert_close(one, other)
    everything, whole, _ = problem()
    torch.testing.assert_close(everything[-len(at) :], at)
    torch.testing.assert_close(mean_gradient(whole, everything)[-len(at) :], mean_gradient(pieces, at))


def test_dropout_and_batch_statistics_are_fixed_and_the_model_is_left_alone():
    model = nn.Sequential(nn.Linear(D, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, C)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    at, pieces, judged = problem("3", model=model)
    first = influence(pieces, judged, at, lambda p, v: solve(p, v, 0.1))
    at, pieces, judged = problem("3", batch_size=11, model=model)
    torch.testing.assert_close(influence(pieces, judged, at, lambda p, v: solve(p, v, 0.1)), first)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_the_three_solvers_agree_and_are_linear():
    x, y = draw(N, 0)
    at = fitted(logistic(x, y))
    # Softmax regression without a ridge: the Hessian has D directions of no curvature.
    hessian = torch.autograd.functional.hessian(lambda theta: logistic(x, y, 0.0)(theta).mean(), at)
    product = hessian.mv
    a, b = (torch.randn(len(at), dtype=torch.float64, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    exact = dense(product, a, damping=0.01)
    torch.testing.assert_close(exact, torch.linalg.solve(hessian + 0.01 * torch.eye(len(at)), a))
    torch.testing.assert_close(conjugate_gradient(product, a, damping=0.01), exact)
    for scale in (1.0, 3.0):
        torch.testing.assert_close(lissa(product, a, damping=0.01, scale=scale, steps=20000), exact)
    for method in (dense, conjugate_gradient, lissa):
        both, one, other = (method(product, v, damping=0.01) for v in (2.0 * a - 3.0 * b, a, b))
        torch.testing.assert_close(both, 2.0 * one - 3.0 * other)


def test_the_series_on_one_batch_at_a_time_comes_near_in_the_mean():
    x, y = draw(N, 0)
    at = fitted(logistic(x, y))
    pieces = [logistic(x[k::4], y[k::4], ridge=0.0) for k in range(4)]
    vector = torch.randn(len(at), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = dense(hessian_product(pieces, at), vector, damping=0.5)
    drawn = sampled_product(pieces, at, torch.Generator().manual_seed(0))
    found = lissa(drawn, vector, damping=0.5, scale=5.0, steps=80, repeats=3)
    assert torch.cosine_similarity(found, exact, 0) > 0.99 and 0.95 < found.norm() / exact.norm() < 1.05


def test_a_system_that_cannot_be_solved_is_an_error_that_says_what_to_change():
    vector = torch.ones(2, dtype=torch.float64)
    saddle = torch.tensor([1.0, -2.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="damping: 0.5 leaves directions of negative curvature; raise it"):
        conjugate_gradient(lambda v: saddle * v, vector, damping=0.5)
    with pytest.raises(ValueError, match="2 steps of conjugate gradients"):
        conjugate_gradient(lambda v: torch.arange(1.0, 9.0) * v, torch.ones(8), damping=0.0, steps=2)
    with pytest.raises(ValueError, match="diverges with 0.4; raise it"):
        lissa(lambda v: v, vector, damping=0.01, scale=0.4)


scores_lists = st.lists(st.floats(-100, 100), min_size=3, max_size=30)


@settings(max_examples=60)
@given(scores_lists, st.floats(0.01, 100), st.sampled_from(["sigmoid", "exponential", "drop", "uniform"]))
def test_weights_have_mean_one_rise_with_the_scores_and_ignore_their_unit(values, factor, transform):
    scores = torch.tensor([*values, 1.0], dtype=torch.float64)
    weights = sample_weights(scores, transform)
    assert weights.mean() == pytest.approx(1.0) and (weights >= 0).all()
    assert transform == "drop" or (weights > 0).all()
    assert (weights[scores.argsort()].diff() >= -1e-12).all()
    torch.testing.assert_close(sample_weights(factor * scores, transform), weights, rtol=1e-6, atol=1e-9)


def test_weights_are_the_formulas():
    scores = torch.tensor([-3.0, 0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    raw = 1 / (1 + np.exp(-2.0 * (scores.numpy() - 1.0) / np.std(scores.numpy())))
    np.testing.assert_allclose(sample_weights(scores), raw / raw.mean())
    raw = np.exp(2 * (scores.numpy() + 3.0) / 8.0 - 1)
    np.testing.assert_allclose(sample_weights(scores, "exponential"), raw / raw.mean())
    np.testing.assert_allclose(sample_weights(scores, "drop"), [0, 1.25, 1.25, 1.25, 1.25])
    assert sample_weights(torch.full((4,), 3.0)).tolist() == [1.0] * 4
    with pytest.raises(ValueError, match="no item has a score of 0 or more"):
        sample_weights(-scores - 10, "drop")
    with pytest.raises(ValueError, match="'sigmod' is not one of"):
        sample_weights(scores, "sigmod")
