"""Cross-entropy against the K largest probabilities is that against the target that they stand for."""

import pytest
import torch

from embodkd.core.terms import cross_entropy, soft_cross_entropy, sparse_cross_entropy

N, C = 6, 12


def student(requires_grad=True, dtype=torch.float64):
    drawn = torch.randn(N, C, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return drawn.requires_grad_(requires_grad)


def known(k, seed=1):
    logits = 2.0 * torch.randn(N, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return logits.softmax(1).topk(k)


def recovered(probs_NK, index_NK):
    """The target of "spread", read off the gradient: softmax(z) - dL/dz."""
    z = student()
    (slope,) = torch.autograd.grad(sparse_cross_entropy(z, probs_NK, index_NK).sum(), z)
    return z.detach().softmax(1) - slope


@pytest.mark.parametrize("k", [1, 3, C - 1, C])
def test_the_recovered_target_is_a_distribution_that_keeps_what_is_known_and_spreads_the_rest(k):
    probs, index = known(k)
    target = recovered(probs, index)
    torch.testing.assert_close(target.sum(1), torch.ones(N, dtype=torch.float64))
    torch.testing.assert_close(target.gather(1, index), probs)
    if k == C:
        return
    others = target[torch.ones(N, C).scatter(1, index, 0.0).bool()].reshape(N, C - k)
    torch.testing.assert_close(others, ((1 - probs.sum(1)) / (C - k))[:, None].expand(-1, C - k))
    torch.testing.assert_close(sparse_cross_entropy(student(), probs, index), soft_cross_entropy(student(), target))


@pytest.mark.parametrize("rest", ["spread", "bin"])
def test_all_classes_known_is_plain_soft_cross_entropy(rest):
    probs, index = known(C)
    target = torch.zeros(N, C, dtype=torch.float64).scatter(1, index, probs)
    found = sparse_cross_entropy(student(), probs, index, rest=rest)
    torch.testing.assert_close(found, soft_cross_entropy(student(), target))
    rounded = sparse_cross_entropy(student(), probs.half(), index, rest=rest)
    torch.testing.assert_close(rounded, found, rtol=2e-3, atol=0)


@pytest.mark.parametrize("rest", ["spread", "bin"])
def test_one_sure_class_is_a_label(rest):
    index = torch.arange(N)[:, None]
    found = sparse_cross_entropy(student(), torch.ones(N, 1, dtype=torch.float64), index, rest=rest)
    torch.testing.assert_close(found, cross_entropy(student(), index[:, 0]))


@pytest.mark.parametrize("k", [2, C])
@pytest.mark.parametrize("rest", ["spread", "bin"])
def test_a_sum_above_one_is_divided_away(k, rest):
    probs, index = known(k)
    sure = probs / probs.sum(1, keepdim=True)
    above = sparse_cross_entropy(student(), 1.5 * sure, index, rest=rest)
    torch.testing.assert_close(above, sparse_cross_entropy(student(), sure, index, rest=rest))


def test_a_bin_leaves_it_free_how_the_student_divides_the_rest():
    probs, index = known(3)
    others = torch.ones(N, C, dtype=torch.float64).scatter(1, index, 0.0).bool()
    z = student(requires_grad=False)
    rest = torch.where(others, z, -torch.inf)
    even = torch.where(others, rest.logsumexp(1, keepdim=True) - torch.tensor(C - 3.0).log(), z)
    a, b = (sparse_cross_entropy(v, probs, index, rest="bin") for v in (z, even))
    torch.testing.assert_close(a, b)
    # an even division is what "spread" asks for, and then they differ by the entropy of dividing alone
    spread = sparse_cross_entropy(even, probs, index)
    torch.testing.assert_close(spread - b, (1 - probs.sum(1)) * torch.tensor(C - 3.0, dtype=torch.float64).log())
    assert not torch.allclose(sparse_cross_entropy(z, probs, index), spread)


def test_the_gradient_of_a_bin_is_that_of_its_outcomes():
    probs, index = known(3)
    z = student()
    (slope,) = torch.autograd.grad(sparse_cross_entropy(z, probs, index, rest="bin").sum(), z)
    s = z.detach().softmax(1)
    others = torch.ones(N, C).scatter(1, index, 0.0).bool()
    within = torch.where(others, s, 0.0) / torch.where(others, s, 0.0).sum(1, keepdim=True)
    target = ((1 - probs.sum(1, keepdim=True)) * within).scatter(1, index, probs)
    torch.testing.assert_close(slope, s - target)


def test_a_student_that_is_sure_of_the_known_still_has_a_rest():
    z = torch.tensor([[40.0, 0.0, 0.0, 0.0]])
    found = sparse_cross_entropy(z, torch.tensor([[0.9]]), torch.tensor([[0]]), rest="bin")
    torch.testing.assert_close(found, 0.1 * (40.0 - torch.tensor([3.0]).log()))


def test_what_does_not_fit_is_refused():
    probs, index = known(3)
    with pytest.raises(ValueError, match="do not fit logits of shape"):
        sparse_cross_entropy(student(), probs, index[:, :2])
    with pytest.raises(ValueError, match="rest must be spread or bin"):
        sparse_cross_entropy(student(), probs, index, rest="none")
    with pytest.raises(ValueError, match="12 probabilities for 4 classes"):
        sparse_cross_entropy(student()[:, :4], *known(C))
