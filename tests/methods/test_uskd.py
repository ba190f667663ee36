"""USKD: its self-made labels against plain loops, what they sum to, and where gradients go."""

import math

import pytest
import torch
from rows import blobs, budget, images, small, small_cnn
from torch.nn import functional as F

from embodkd.core import Signals, Splits, TensorData, cross_entropy
from embodkd.core.terms.self_label import own_classes, rank_scores, target_label, zipf_label
from embodkd.methods.uskd import USKD
from embodkd.parts.networks.features import feature_shapes, pooled, pooled_width

N, C = 8, 6


def logits(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, C, generator=generator, dtype=torch.float64)


LABEL = torch.tensor([0, 5, 2, 2, 1, 3, 4, 0])
HARD = F.one_hot(LABEL, C).double()
# Items 0 to 5 have two labels, 6 and 7 one.
SHARE = torch.tensor([0.6, 0.7, 0.8, 0.9, 0.55, 0.95, 1.0, 1.0], dtype=torch.float64)[:, None]
MIXED = SHARE * HARD + (1 - SHARE) * F.one_hot((LABEL + 2) % C, C)


def softmax(row):
    weights = [math.exp(v) for v in row]
    return [w / sum(weights) for w in weights]


def slow_losses(z, weak, score, rank_on="prob"):
    """Target and non-target part of every item, in plain floats."""
    probs = [softmax(row) for row in z]
    owns = [sorted((c for c in range(C) if row[c] > 0), key=lambda c: -row[c]) for row in score]
    means = [sum(p[own[k]] ** 2 for p, own in zip(probs, owns, strict=True) if len(own) > k) / N for k in (0, 1)]
    target, nontarget = [], []
    for n in range(N):
        labels = [(probs[n][c] ** 2 + score[n][c] - means[k], c) for k, c in enumerate(owns[n])]
        target.append(-sum(p * math.log(probs[n][c]) for p, c in labels))
        w, s = softmax(weak[n]), probs[n] if rank_on == "prob" else [math.log(p) for p in probs[n]]
        w_t, s_t = (sum(v[c] for c in owns[n]) for v in (w, s))
        rank = [w[c] / (1 - w_t + 1e-6) + s[c] / (1 - s_t + 1e-6) for c in range(C)]
        order = sorted(range(C), key=lambda c: -rank[c])
        zipf = {c: 1 / (order.index(c) + 1) for c in range(C) if c not in owns[n]}
        rest = dict(zip(zipf, softmax([z[n][c] for c in zipf]), strict=True))
        nontarget.append(-sum(v / sum(zipf.values()) * math.log(rest[c]) for c, v in zipf.items()))
    return torch.tensor(target, dtype=torch.float64), torch.tensor(nontarget, dtype=torch.float64)


@pytest.mark.parametrize("rank_on", ["prob", "log_prob"])
@pytest.mark.parametrize("score", [HARD, MIXED], ids=["hard", "mixed"])
def test_labels_are_those_of_plain_loops(score, rank_on):
    z, weak = logits(0), logits(1)
    mine = own_classes(score)
    target = -(target_label(z.softmax(1), score) * z.log_softmax(1)).sum(1)
    zipf = zipf_label(rank_scores(weak, z, mine, rank_on), mine)
    rest = z.masked_fill(mine, -1e30).log_softmax(1)
    slow_target, slow_nontarget = slow_losses(z.tolist(), weak.tolist(), score.tolist(), rank_on)
    torch.testing.assert_close(target, slow_target, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(-(zipf * rest).sum(1), slow_nontarget, rtol=1e-12, atol=1e-12)


def test_paper_and_released_code_rank_differently():
    rank = [rank_scores(logits(1), logits(0), HARD.bool(), how).argsort(1) for how in ("prob", "log_prob")]
    assert not torch.equal(*rank)
    with pytest.raises(ValueError, match="rank_on"):
        rank_scores(logits(1), logits(0), HARD.bool(), "logs")


def test_target_labels_average_to_the_label_mass():
    """Hard labels: the batch mean is 1. Mixed: each of the two columns averages to its mean share, 1 together."""
    probs = logits(0).softmax(1)
    assert target_label(probs, HARD).sum(1).mean() == pytest.approx(1.0, abs=1e-12)
    full = target_label(probs[:6], MIXED[:6])
    first = full.gather(1, MIXED[:6].argmax(1, keepdim=True)).squeeze(1)
    torch.testing.assert_close(first.mean(), SHARE[:6].mean())
    torch.testing.assert_close(full.sum(1).mean(), torch.tensor(1.0, dtype=torch.float64))


def test_a_batch_of_one_item_has_its_own_label():
    probs = logits(0).softmax(1)
    for n in range(N):
        torch.testing.assert_close(target_label(probs[n : n + 1], MIXED[n : n + 1]), MIXED[n : n + 1])


def test_zipf_labels_are_a_permutation_of_what_the_labels_leave():
    mine = HARD.bool()
    rank = rank_scores(logits(1), logits(0), mine)
    zipf = zipf_label(rank, mine)
    torch.testing.assert_close(zipf.sum(1), torch.ones(N, dtype=torch.float64))
    for n in range(N):
        place = int((rank[n] > rank[n, LABEL[n]]).sum())
        left = torch.tensor([1.0 / (k + 1) for k in range(C) if k != place], dtype=torch.float64)
        torch.testing.assert_close(zipf[n].sort(descending=True).values[:-1], left / left.sum())
        order = rank[n].argsort()
        assert zipf[n, LABEL[n]] == 0 and torch.equal(zipf[n].argsort()[1:], order[order != LABEL[n]])


def test_the_place_of_each_class_counts_not_the_class_at_each_place():
    """An order that is not its own inverse: 2 > 0 > 1, with class 3 the label in front of all."""
    rank = torch.tensor([[0.5, 0.1, 0.9, 2.0]], dtype=torch.float64)
    found = zipf_label(rank, torch.tensor([[False, False, False, True]]))
    torch.testing.assert_close(found, torch.tensor([[1 / 3, 1 / 4, 1 / 2, 0.0]], dtype=torch.float64) / (13 / 12))


def test_self_made_labels_carry_no_gradient():
    z, weak = logits(0).requires_grad_(), logits(1).requires_grad_()
    assert not target_label(z.softmax(1), HARD).requires_grad
    assert not rank_scores(weak, z, HARD.bool()).requires_grad


def weighted(player, z, inner, label):
    values = player.terms(Signals(label=label), Signals(logits=z, inner=inner))
    weights = player.ready_weights()
    return values, sum(v * (weights[k].at(0) if k in weights else 1.0) for k, v in values.items())


def of_blobs(method):
    (player,) = method.recipe(small(), None, blobs(), budget=budget()).stages[0].players
    generator = torch.Generator().manual_seed(2)
    z, inner = (torch.randn(7, n, generator=generator).requires_grad_() for n in (3, 8))
    return player, z, inner, torch.arange(7) % 3


def test_without_mu_the_weak_head_gets_no_gradient_and_with_it_the_feature_does():
    player, z, inner, label = of_blobs(USKD(mu=0.0))
    head = player.helpers["weak_head"]
    _, loss = weighted(player, z, inner, label)
    loss.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in head.parameters())
    assert inner.grad is None or not inner.grad.any()
    player, z, inner, label = of_blobs(USKD(alpha=0.0, beta=0.0, mu=0.5))
    values, loss = weighted(player, z, inner, label)
    loss.sum().backward()
    assert inner.grad.any() and player.helpers["weak_head"].weight.grad.any()
    weak = player.helpers["weak_head"](inner)
    torch.testing.assert_close(values["weak"], cross_entropy(weak, label, smoothing=0.1))


def test_without_its_three_parts_only_the_cross_entropy_is_left():
    player, z, inner, label = of_blobs(USKD(alpha=0.0, beta=0.0, mu=0.0))
    _, loss = weighted(player, z, inner, label)
    assert torch.equal(loss, cross_entropy(z, label))


def test_gradient_is_that_of_the_loss_with_its_labels_held_still():
    player, z, inner, label = of_blobs(USKD())
    _, loss = weighted(player, z, inner, label)
    (found,) = torch.autograd.grad(loss.sum(), z)
    score = F.one_hot(label, 3).float()
    mine, probs = score.bool(), z.detach().softmax(1)
    zipf = zipf_label(rank_scores(player.helpers["weak_head"](inner), z, mine), mine)
    rest = probs.masked_fill(mine, 0.0)
    target = target_label(probs, score)
    expected = (probs - score) + 0.1 * (probs * target.sum(1, keepdim=True) - target)
    expected += 0.1 * (rest / rest.sum(1, keepdim=True) - zipf)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank_on", ["prob", "log_prob"])
def test_extreme_logits_have_finite_values_and_gradients(dtype, rank_on):
    player, *_ = of_blobs(USKD(rank_on=rank_on))
    z = (1e4 * torch.tensor([[1.0, -1, 0], [0, 0, 0], [-1, -1, 1], [1, 1, -1]])).to(dtype).requires_grad_()
    inner = (1e3 * torch.randn(4, 8)).to(dtype).requires_grad_()
    _, loss = weighted(player, z, inner, torch.tensor([1, 0, 2, 2]))
    loss.sum().backward()
    assert loss.isfinite().all() and z.grad.isfinite().all() and inner.grad.isfinite().all()


def test_mixing_two_classes_leaves_no_other_one():
    data = blobs()
    parts = (data.train, data.validation, data.test)
    halves = [TensorData({**part.fields, "label": part.fields["label"] % 2}) for part in parts]
    two = Splits(*halves, classes=2, shape=data.shape)
    with pytest.raises(ValueError, match="mixup"):
        USKD(mixup=0.2).recipe(small(2), None, two, budget=budget())


def test_weak_head_fits_any_kind_of_feature():
    model, data = small_cnn(), images()
    shape = feature_shapes(model, data.train, {"inner": "layers.0"})["inner"]
    assert shape == (4, 8, 8) and pooled_width(shape) == 4
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(pooled(x), x.mean((2, 3)))
    tokens = torch.randn(2, 5, 3)
    assert torch.equal(pooled(tokens), tokens[:, 0]) and pooled_width((5, 3)) == 3
    with pytest.raises(ValueError, match="neither vectors, tokens nor a map"):
        pooled(torch.randn(2))
    (player,) = USKD().recipe(model, None, data, budget=budget()).stages[0].players
    assert player.helpers["weak_head"].in_features == 4
