"""Two teachers, each for its own domain."""

from __future__ import annotations

import torch

from embodkd.parts.vla.dual import at_positions, domain_kl, forward_kl, token_means

N, P, V = 6, 7, 16
VALID = torch.ones(N, P, dtype=torch.bool)
ROBOT = torch.tensor([1, 1, 1, 0, 0, 0], dtype=torch.bool)


def _logits(seed: int) -> torch.Tensor:
    return torch.randn(N, P, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_who_says_the_same_in_context_costs_nothing() -> None:
    assert domain_kl(_logits(0), _logits(0) + 3.0, VALID, ROBOT).abs() < 1e-12


def test_it_is_the_mean_of_divergences_from_the_teacher_times_the_squared_temperature() -> None:
    for temperature in (1.0, 2.0):
        t, s = ((_logits(i) / temperature).softmax(-1) for i in (1, 0))
        expected = temperature**2 * (t * (t / s).log()).sum(-1)[:3].mean()
        assert torch.allclose(domain_kl(_logits(0), _logits(1), VALID, ROBOT, temperature), expected)


def test_rows_of_another_domain_get_no_gradient_whatever_they_hold() -> None:
    student, teacher = _logits(0).requires_grad_(), _logits(1).requires_grad_()
    spoiled = torch.where(ROBOT[:, None, None], teacher, torch.nan)
    domain_kl(student, spoiled, VALID, ROBOT).backward()
    assert student.grad[:3].abs().sum() > 0 and not student.grad[3:].any() and teacher.grad is None
    nobody = domain_kl(student, spoiled, VALID, torch.zeros_like(ROBOT))
    assert float(nobody) == 0 and not nobody.requires_grad


def test_the_squared_temperature_keeps_the_size_of_gradients_for_small_logits() -> None:
    sizes = []
    for temperature in (1.0, 4.0):
        student = (0.2 * _logits(0)).requires_grad_()
        forward_kl(student, 0.2 * _logits(1), temperature).sum().backward()
        sizes.append(float(student.grad.norm()))
    assert 0.5 < sizes[1] / sizes[0] < 2.0


def test_text_before_the_actions_does_not_move_what_is_compared() -> None:
    actions = _logits(0)
    shifted = torch.full((N, P + 9, V), torch.nan, dtype=torch.float64)
    place = torch.arange(P)[None] + torch.arange(N)[:, None]
    shifted.scatter_(1, place[..., None].expand(-1, -1, V), actions)
    assert torch.equal(at_positions(shifted, place), actions)


def test_one_mean_over_all_tokens_or_one_for_each_domain() -> None:
    loss = torch.tensor([[1.0, 1.0, 1.0, torch.nan], [5.0, torch.inf, torch.nan, torch.nan]])
    valid = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    assert float(token_means(loss, valid)) == 2.0
    assert float(token_means(loss, valid, torch.tensor([0, 1]))) == 6.0
    assert float(token_means(loss, torch.zeros_like(valid))) == 0.0
