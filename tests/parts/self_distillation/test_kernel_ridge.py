"""Kernel regression taught by itself: closed forms against going through the rounds, and the paper's toy example."""

import math
from fractions import Fraction

import pytest
import sklearn.kernel_ridge
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes

from embodkd.parts.self_distillation.best_share import best_share
from embodkd.parts.self_distillation.kernel_ridge import KernelRidge, rbf

TENTH = Fraction(1, 10)
ALPHAS = [0.1, 0.25, 0.5, 0.9]
# Noisy values of sin(2 pi x) at x = 0, 0.1, ..., 1, as the paper's notebook lists them.
NOISY = [0.38476636, 1.23339677, 1.33233242, 0.69201595, -0.29756146, -0.24189292]
NOISY += [-0.79644858, -0.96164802, -0.49672510, -0.34690660, 0.55895127]
TABLE = {
    0.0: ([0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251], 0.49505),
    0.25: ([0.16477, 0.15309, 0.14958, 0.14903, 0.14946, 0.15011], 0.15250),
    0.35: ([0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948], 0.14959),
}


def toy():
    """(regression, labels, k(x, X) and the true sine at 101 points)."""
    x, new = (torch.linspace(0, 1, n, dtype=torch.float64)[:, None] for n in (11, 101))
    label = torch.tensor(NOISY, dtype=torch.float64)[:, None]
    return KernelRidge(rbf(x, x, 80.0), 0.2), label, rbf(new, x, 80.0), torch.sin(2 * math.pi * new)


def mse(a, b):
    return float((a - b).square().mean())


def test_one_fit_is_that_of_scikit_learn():
    fit, label, cross, _ = toy()
    x, new = (torch.linspace(0, 1, n, dtype=torch.float64)[:, None] for n in (11, 101))
    library = sklearn.kernel_ridge.KernelRidge(alpha=0.2, kernel="rbf", gamma=80.0).fit(x, label)
    torch.testing.assert_close(fit.at(cross, label), torch.from_numpy(library.predict(new)), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(fit.fitted(label), torch.from_numpy(library.predict(x)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_rounds_recursion_and_closed_form_agree(alpha):
    fit, label, cross, _ = toy()
    recursion = fit.shrinkage_N
    for round_, target in enumerate(fit.mixed_targets(label, [alpha] * 10), start=1):
        torch.testing.assert_close(fit.modes(round_, alpha), recursion, rtol=1e-10, atol=1e-10)
        through = fit.vectors_NN @ (recursion[:, None] * (fit.vectors_NN.T @ label))
        torch.testing.assert_close(fit.fitted(target), through, rtol=1e-10, atol=1e-10)
        closed = fit.at(cross, fit.target_of(round_, alpha, label))
        torch.testing.assert_close(fit.at(cross, target), closed, rtol=1e-10, atol=1e-10)
        recursion = fit.shrinkage_N * ((1 - alpha) * recursion + alpha)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_limit_is_one_fit_with_a_larger_ridge(alpha):
    fit, label, cross, _ = toy()
    x = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    direct = KernelRidge(rbf(x, x, 80.0), 0.2 / alpha)
    many = fit.mixed_targets(label, [alpha] * 2000)[-1]
    assert (fit.fitted(many) - direct.fitted(label)).abs().max() < 1e-12
    torch.testing.assert_close(fit.modes(None, alpha), direct.shrinkage_N, rtol=1e-12, atol=1e-12)
    limit = fit.at(cross, fit.target_of(None, alpha, label))
    torch.testing.assert_close(limit, direct.at(cross, label), rtol=1e-11, atol=1e-11)


def test_without_labels_it_collapses_and_with_labels_alone_it_stays():
    fit, label, cross, _ = toy()
    assert fit.fitted(fit.mixed_targets(label, [0.0] * 2000)[-1]).abs().max() < 1e-12
    assert not fit.at(cross, fit.target_of(None, 0.0, label)).any()
    for round_ in (1, 2, 7, None):
        torch.testing.assert_close(fit.modes(round_, 1.0), fit.shrinkage_N)


@pytest.mark.parametrize("alpha", TABLE)
def test_the_papers_toy_table(alpha):
    fit, label, cross, sine = toy()
    rounds, limit = TABLE[alpha]
    found = [mse(fit.at(cross, target), sine) for target in fit.mixed_targets(label, [alpha] * 6)]
    assert [round(v, 5) for v in found] == rounds
    assert round(mse(fit.at(cross, fit.target_of(None, alpha, label)), sine), 5) == limit


def greedy(fit, label, cross, wanted, rounds):
    """(shares, losses, mixed targets) of rounds that take the best share for `wanted` each, after the first."""
    first, target = fit.at(cross, label), label
    shares, losses = [1.0], [mse(first, wanted)]
    for _ in range(rounds - 1):
        former = fit.fitted(target)
        shares.append(best_share(first, fit.at(cross, former), wanted))
        target = shares[-1] * label + (1 - shares[-1]) * former
        losses.append(mse(fit.at(cross, target), wanted))
    return shares, losses, target


def test_the_best_share_of_each_round_of_the_toy():
    shares, losses, _ = greedy(*toy(), 5)
    assert [round(v, 5) for v in losses] == [0.16477, 0.15076, 0.14876, 0.14916, 0.14937]
    assert [round(v, 3) for v in shares[1:]] == [0.0, 0.135, 0.334, 0.336]
    fit, label, cross, sine = toy()
    free = best_share(fit.at(cross, label), fit.at(cross, fit.fitted(label)), sine, clip=False)
    assert round(free, 2) == -0.62


@given(st.integers(0, 2**31))
def test_the_best_share_is_the_best_of_a_fine_grid(seed):
    u, v, y = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)
    losses = (grid[:, None, None] * u + (1 - grid[:, None, None]) * v - y).square().sum((1, 2))
    assert abs(best_share(u, v, y) - float(grid[losses.argmin()])) < 6e-4
    other = 1 - float(((u - y) * (u - v)).sum() / (u - v).square().sum())
    assert math.isclose(best_share(u, v, y, clip=False), other, rel_tol=1e-9, abs_tol=1e-9)


def test_two_equal_answers_leave_the_labels_and_shapes_are_checked():
    u = torch.ones(3, 2)
    assert best_share(u, u, torch.zeros(3, 2)) == 1.0
    with pytest.raises(ValueError, match="one shape"):
        best_share(u, u, torch.zeros(3))
    with pytest.raises(ValueError, match="ridge must be positive"):
        KernelRidge(torch.eye(2), 0.0)


def test_only_without_labels_does_sparsity_grow_from_round_to_round():
    fit, *_ = toy()
    strong, weak = int(fit.shrinkage_N.argmax()), int(fit.shrinkage_N.argmin())
    for alpha in [0.0, *ALPHAS, 1.0]:
        modes = [fit.modes(t, alpha) for t in range(1, 400 if alpha else 20)]
        ratio = torch.stack([m[strong] / m[weak] for m in modes])
        assert (ratio >= ratio[0] * (1 - 1e-12)).all()
        if alpha == 0.0:
            assert (ratio.diff() > 0).all()
        else:
            limit = fit.modes(None, alpha)
            torch.testing.assert_close(ratio[-1], limit[strong] / limit[weak], rtol=1e-9, atol=0)


def test_a_ratio_of_modes_can_overshoot_its_limit():
    fit = KernelRidge(torch.diag(torch.tensor([9.0, 1.0 / 9.0], dtype=torch.float64)), 1.0)
    torch.testing.assert_close(fit.shrinkage_N.sort().values, torch.tensor([0.1, 0.9], dtype=torch.float64))
    strong = weak = Fraction(1)
    for round_ in range(1, 6):
        strong, weak = (a * (b + 1) / 2 if round_ > 1 else a for a, b in ((TENTH * 9, strong), (TENTH, weak)))
        modes = fit.modes(round_, 0.5)
        assert float(modes.max() / modes.min()) == pytest.approx(float(strong / weak), rel=1e-12)
        assert (strong / weak > Fraction(171, 11)) == (round_ > 2)
    limit = fit.modes(None, 0.5)
    assert float(limit.max() / limit.min()) == pytest.approx(171 / 11, rel=1e-12)


def test_on_diabetes_rounds_without_labels_spoil_it_and_guided_ones_do_not():
    """Means over 5 splits: MSE on the validation part, all standardised by the training part."""
    data = load_diabetes()
    x_all, y_all = (torch.as_tensor(v, dtype=torch.float64) for v in (data.data, data.target[:, None]))
    pure, guided = [], []
    for seed in range(5):
        order = torch.randperm(len(x_all), generator=torch.Generator().manual_seed(seed))
        train, validation = order[:150], order[150:300]
        (x, x_new), (y, y_new) = (
            [(v[part] - v[train].mean(0)) / v[train].std(0, correction=0) for part in (train, validation)]
            for v in (x_all, y_all)
        )
        fit, cross = KernelRidge(rbf(x, x, 0.02), 0.1), rbf(x_new, x, 0.02)
        pure.append([mse(fit.at(cross, target), y_new) for target in fit.mixed_targets(y, [0.0] * 60)])
        guided.append(greedy(fit, y, cross, y_new, 20)[1])
    pure, guided = torch.tensor(pure).mean(0), torch.tensor(guided).mean(0)
    assert pure[-1] >= 1.15 * pure.min()
    assert guided[-1] <= 1.02 * guided.min()
