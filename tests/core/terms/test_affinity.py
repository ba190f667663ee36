"""Affinity of pairs: what holds between it, entropy, CLIP's loss and their gradients."""

import math

import pytest
import torch

from embodkd.core import affinity, info_nce, pair_contrast
from embodkd.core.terms.base import unit

N, D, E = 7, 5, 4


def drawn(seed=0, width=D):
    return torch.randn(N, 2, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(pair, scale):
    """The distribution over partners, (2, N, N)."""
    first, second = unit(pair).unbind(1)
    return torch.stack([(scale * first @ second.T).softmax(1), (scale * second @ first.T).softmax(1)])


def test_alike_it_is_the_mean_entropy_of_the_rows_and_its_gradient_is_zero():
    target = drawn()
    value = target.clone().requires_grad_()
    found = affinity(value, target, scale=7.0)
    p = rows(target, 7.0)
    torch.testing.assert_close(found, -(p * p.log()).sum(-1).mean(0))
    (slope,) = torch.autograd.grad(found.sum(), value)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-10, rtol=0)
    other = affinity(drawn(1), target, scale=7.0)
    assert (other.mean() > found.mean()).item()


def test_its_gradient_by_the_scores_is_the_difference_of_the_distributions():
    """(softmax of the student - that of the teacher) / 2B in each direction, here over the batch mean."""
    value, target = drawn(1), drawn()
    first, second = unit(value).unbind(1)
    scores = (first @ second.T).detach()
    q, p = rows(value, 1.0), rows(target, 1.0)
    expected = (q[0] - p[0]) / (2 * N) + ((q[1] - p[1]) / (2 * N)).T
    leaf = scores.clone().requires_grad_()
    log_q = torch.stack([leaf.log_softmax(1), leaf.T.log_softmax(1)])
    loss = -(p * log_q).sum(-1).mean(0).mean()
    torch.testing.assert_close(loss, affinity(value, target, scale=1.0).mean())
    torch.testing.assert_close(torch.autograd.grad(loss, leaf)[0], expected)


def test_to_a_target_that_is_sure_of_the_own_partners_it_is_the_loss_of_clip():
    value = drawn(2)
    sure = torch.eye(N, dtype=torch.float64)[:, None, :].expand(N, 2, N)
    by_affinity = affinity(value, sure, scale=5.0, target_scale=1e4)
    torch.testing.assert_close(by_affinity, pair_contrast(value, scale=5.0))
    image, text = value.unbind(1)
    both = [info_nce(a, b, temperature=0.2, detach_target=False) for a, b in ((image, text), (text, image))]
    torch.testing.assert_close(by_affinity, sum(both) / 2)


def test_no_gradient_reaches_the_target_or_its_scale():
    value, target = drawn(1), drawn().requires_grad_()
    scale = torch.full((N,), 3.0, dtype=torch.float64, requires_grad=True)
    found = affinity(value.requires_grad_(), target, scale=5.0, target_scale=scale).sum()
    assert torch.autograd.grad(found, (target, scale), allow_unused=True) == (None, None)


def test_a_scale_for_each_item_learns():
    value = drawn(3)
    scale = torch.full((N,), 2.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(pair_contrast(value, scale=scale).mean(), scale)
    step = 1e-6
    numeric = (pair_contrast(value, scale=2.0 + step).mean() - pair_contrast(value, scale=2.0 - step).mean()) / 2 / step
    torch.testing.assert_close(slope.sum(), numeric, rtol=1e-6, atol=1e-9)


def test_the_two_sides_may_live_in_spaces_of_other_widths_and_lengths():
    value, target = drawn(1), drawn(4, E)
    plain = affinity(value, target)
    torch.testing.assert_close(affinity(3.0 * value, 0.2 * target), plain)
    turn, _ = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    torch.testing.assert_close(affinity(value @ turn, target), plain)


def test_a_lone_item_finds_its_partner():
    assert not affinity(drawn()[:1], drawn(1)[:1]).any() and not pair_contrast(drawn()[:1]).any()


@pytest.mark.parametrize("shape", [(N, D), (N, 3, D), (N - 1, 2, D)])
def test_what_is_no_pair_for_each_item_is_named(shape):
    with pytest.raises(ValueError, match=r"target has shape .*two things of each item"):
        affinity(drawn(), torch.zeros(shape))
    if shape[0] == N:
        with pytest.raises(ValueError, match="student has shape"):
            pair_contrast(torch.zeros(shape))


def test_everything_in_one_place_is_guessing():
    value = torch.ones(N, 2, D)
    torch.testing.assert_close(pair_contrast(value), torch.full((N,), math.log(N)))
