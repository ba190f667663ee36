"""The one-step hypergradient equals finite differences, and meta players move nobody else's parameters."""

import pytest
import torch
from torch import nn

from embodkd.core import Optimiser, Player, Role, TensorData, Trainer, Unroll, cross_entropy, fit, kl
from embodkd.core.engine.objective import objective


class Network(nn.Module):
    reads = "input"

    def __init__(self, norm=False):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4) if norm else nn.Identity(), nn.Linear(4, 3))

    def forward(self, x):
        return {"logits": self.layers(x)}


def source(n, seed):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return TensorData({"input": x, "label": (x[:, 0] > 0).long() + (x[:, 1] > 0).long()})


def game(detached=False, norm=False, rate=0.3):
    """A network fed by the labels and by a teacher, mixed per item by a second network."""
    torch.manual_seed(0)
    student, teacher, mixer = Network(norm).double(), Network().double(), nn.Linear(3, 1, dtype=torch.float64)

    def alpha(batch, s, t):
        share_N = torch.sigmoid(mixer(batch["input"])).squeeze(1)
        return share_N.detach() if detached else share_N

    def terms(batch, s, t):
        return {"ce": cross_entropy(s.logits_NC, batch.label_N), "kd": kl(s.logits_NC, t.logits_NC)}

    weights = {"kd": alpha, "ce": lambda batch, s, t: 1 - alpha(batch, s, t)}
    inner = Player(Role(student), terms, given={"t": Role(teacher, "frozen")}, weights=weights)
    unroll = Unroll(inner, source(16, 1), rate=rate, batch_size=8)

    def validation(batch, s):
        return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

    outer = Player(Role(mixer), validation, through=unroll, name="mixer")
    return inner, outer, unroll, student, mixer


def outer_loss(outer, unroll, batch):
    judged, s = unroll.signals(batch, 0, 10)
    return objective(outer, judged, s, {}, 0, 10)[1] / judged.items_count


@pytest.mark.parametrize("norm", [False, True])
def test_the_hypergradient_equals_finite_differences(norm):
    _, outer, unroll, _, mixer = game(norm=norm)
    batch = source(12, 0).gather(torch.arange(12).numpy(), 0)
    slopes = torch.autograd.grad(outer_loss(outer, unroll, batch), list(mixer.parameters()))
    step, found = 1e-6, []
    for parameter in mixer.parameters():
        numeric = torch.empty_like(parameter)
        for k in range(parameter.numel()):
            flat = parameter.data.view(-1)
            flat[k] += step
            above = outer_loss(outer, unroll, batch)
            flat[k] -= 2 * step
            below = outer_loss(outer, unroll, batch)
            flat[k] += step
            numeric.view(-1)[k] = (above - below).detach() / (2 * step)
        found.append(numeric)
    for slope, numeric in zip(slopes, found, strict=True):
        assert numeric.abs().max() > 1e-6
        torch.testing.assert_close(slope, numeric, rtol=1e-4, atol=1e-8)


def test_a_detached_weight_has_no_hypergradient_at_all():
    _, outer, unroll, _, mixer = game(detached=True)
    batch = source(12, 0).gather(torch.arange(12).numpy(), 0)
    slopes = torch.autograd.grad(outer_loss(outer, unroll, batch), list(mixer.parameters()), allow_unused=True)
    assert all(slope is None or not slope.any() for slope in slopes)


def test_a_virtual_step_leaves_parameters_and_running_statistics_alone():
    _, outer, unroll, student, _ = game(norm=True)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    outer_loss(outer, unroll, source(12, 0).gather(torch.arange(12).numpy(), 0))
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())


def test_in_training_each_backward_pass_moves_its_own_player_only():
    inner, outer, _, student, mixer = game()
    moved = []
    for frozen_rate in (0.0, 1e-2):
        inner, outer, _, student, mixer = game()
        first = [p.clone() for p in (*student.parameters(), *mixer.parameters())]
        outer = Player(
            outer.train, outer.terms, through=outer.through, name="mixer", optimiser=Optimiser("sgd", frozen_rate)
        )
        still = Player(
            inner.train, inner.terms, given=inner.given, weights=inner.weights, optimiser=Optimiser("sgd", 0.0)
        )
        Trainer(quiet=True).fit(fit([still, outer], source(12, 0), batch_size=12))
        moved.append(
            [not torch.equal(a, b) for a, b in zip(first, (*student.parameters(), *mixer.parameters()), strict=True)]
        )
    assert not any(moved[0])
    assert not any(moved[1][:4]) and all(moved[1][4:])
