"""The budget of gates: free once it is met, its price climbs until then, shares are those that a fuse takes out."""

import math

import pytest
import torch
from rows import large_towers

from embodkd.core import Gated, Optimiser, Player, Role, Signals, TensorData, Trainer, fit, fuse
from embodkd.parts.players.sparsity import Multipliers, Sparsity


def gated(logits=10.0):
    torch.manual_seed(0)
    model = large_towers()
    found = Gated(model, model.gate_places())
    with torch.no_grad():
        for gate in found.gates.values():
            gate.logits.fill_(logits)
    return found


def batch(target, n=3):
    return Signals({"target": torch.full((n,), target)})


def test_a_lack_costs_its_linear_and_square_price_for_every_item():
    sparse, price = Sparsity(gated()), Multipliers(10.0)
    (share,) = sparse.shares().tolist()
    lack = 0.3 - share
    found = sparse.term(batch(0.3), Signals(price(batch(0.3)["target"])))
    torch.testing.assert_close(found, torch.full((3,), 10 * lack + 10 * lack**2))


def test_met_it_costs_nothing_and_no_gate_or_price_feels_it():
    model, price = gated(0.0), Multipliers(10.0)
    sparse = Sparsity(model)
    assert sparse.shares().item() > 0.1
    found = sparse.term(batch(0.1), Signals(price(batch(0.1)["target"])))
    found.sum().backward()
    assert not found.any()
    assert not any(p.grad is not None and p.grad.any() for p in [*model.parameters(), *price.parameters()])


def test_the_slope_of_a_price_is_the_lack_and_its_square():
    sparse, price = Sparsity(gated()), Multipliers(2.0)
    lack = 0.5 - sparse.shares().item()
    sparse.term(batch(0.5), Signals(price(batch(0.5)["target"])), detach=True).mean().backward()
    assert price.linear.grad.item() == pytest.approx(lack, rel=1e-5)
    assert price.square.grad.item() == pytest.approx(lack**2, rel=1e-5)
    assert all(p.grad is None for p in sparse.gated.parameters())


def test_the_published_share_of_open_gates_after_the_clamp():
    """a = 10: about 1e-5 of each axis; a = log 100: 0.002 of each, 0.004 of a matrix with gates on both axes."""
    model = gated()
    sparse = Sparsity(model)
    assert 0 < sparse.shares().item() < 1e-4
    model.clamp_()
    assert sparse.shares().item() == pytest.approx(0.004, abs=0.001)


def test_two_parts_count_by_their_mean():
    model = gated()
    with torch.no_grad():
        for name, gate in model.gates.items():
            if name.startswith("text_"):
                gate.logits.fill_(0.0)
    apart, price = Sparsity(model, ("image_", "text_")), Multipliers(1.0)
    image, text = apart.shares().tolist()
    assert image < 1e-4 and text > 0.1
    found = apart.term(batch(0.1), Signals(price(batch(0.1)["target"])))[0].item()
    assert found == pytest.approx(((0.1 - image) + (0.1 - image) ** 2) / 2, rel=1e-4)


def test_gates_and_price_together_meet_the_target_and_the_fuse_takes_out_that_share():
    model, price = gated(), Multipliers(10.0)
    sparse = Sparsity(model)
    model.model.requires_grad_(False)
    data = TensorData({"input": torch.zeros(4, 1)})
    generator = torch.Generator().manual_seed(1)
    worth = {name: torch.rand(len(gate.logits), generator=generator) for name, gate in model.gates.items()}

    def terms(batch, s, price):
        lost = sum((worth[name] * (1 - gate.alive())).sum() for name, gate in model.gates.items())
        return {"sparsity": sparse.term(batch, price), "lost": (0.05 * lost).expand(batch.items_count)}

    class Nothing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gates = model.gates

        def forward(self, x):
            return x

    own = Player(
        Role(Nothing()),
        terms,
        {"price": Role(price, view="target")},
        optimiser=Optimiser("adam", 0.1),
        scheduled={"target": 0.4},
    )
    start = price.linear.item()
    recipe = fit((own, sparse.player(price, 0.02, 0.4)), data, epochs=300)
    Trainer(None, seed=0, quiet=True).fit(recipe)
    assert price.linear.item() > start
    assert sparse.shares().item() == pytest.approx(0.4, abs=0.05)
    model.model.requires_grad_(True)
    small = fuse(model)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model.model, small))
    # rounded gates of a network this small are coarse
    assert math.isclose(1 - after / before, sparse.shares().item(), abs_tol=0.1)


def test_a_restart_forgets():
    price = Multipliers(3.0)
    with torch.no_grad():
        price.linear.add_(1.0)
    price.restart(3.0)
    assert price.linear.item() == price.square.item() == 3.0
