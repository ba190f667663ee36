"""Gates: hard-concrete draws with their own chances; open they change nothing; fused, the network is the gated one."""

import math

import pytest
import torch
from torch import nn

from embodkd.core import Gated, HardConcrete, Place, Role, Signals, Tap, fuse

LOGITS = torch.tensor([-4.0, -1.0, 0.0, 0.5, 2.0, 6.0])


def test_chances_are_those_of_the_draws():
    gate = HardConcrete(6, LOGITS)
    torch.manual_seed(0)
    draws = torch.stack([gate.sample() for _ in range(20000)]).detach()
    assert draws.min() == 0 and draws.max() == 1
    found = (draws > 0).float().mean(0)
    torch.testing.assert_close(found, gate.alive().detach(), atol=0.015, rtol=0)
    # by hand: z > 0 where s > 1/12, that is where logit(u) > beta log(1/11) - a
    by_hand = [1 - 1 / (1 + math.exp(-(2 / 3 * math.log(1 / 11) - a))) for a in LOGITS.tolist()]
    torch.testing.assert_close(gate.alive().detach(), torch.tensor(by_hand))


def test_published_chances_after_the_clamp():
    gate = HardConcrete(2, torch.tensor([10.0, -10.0]))
    gate.clamp_()
    assert gate.logits.abs().max() == math.log(100.0)
    torch.testing.assert_close(gate.alive(), torch.tensor([0.998, 0.047]), atol=5e-4, rtol=0)


def test_a_draw_has_a_gradient_where_it_is_no_end():
    gate = HardConcrete(200, 0.0)
    torch.manual_seed(0)
    z = gate.sample()
    z.sum().backward()
    inner = (z > 0) & (z < 1)
    assert inner.any() and not inner.all()
    assert torch.equal(gate.logits.grad != 0, inner)


def test_the_gates_of_evaluation_have_the_expected_number_of_zeros_the_smallest():
    gate = HardConcrete(6, LOGITS)
    mask = gate.eval()()
    zeros = round(6 - gate.alive().sum().item())
    assert zeros == 2 and torch.equal(mask == 0, LOGITS < 0)
    torch.testing.assert_close(mask[2:], torch.sigmoid(LOGITS[2:] * 1.2))
    assert torch.equal(gate(), mask) and not torch.equal(gate.train()(), gate())


class Residual(nn.Module):
    """A residual network over vectors, LayerNorm before and after."""

    def __init__(self, width=10, hidden=7):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.first, self.second = nn.Linear(4, width), nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.before, self.after, self.head = nn.LayerNorm(width), nn.LayerNorm(width), nn.Linear(width, 3)
        for p in self.parameters():
            nn.init.normal_(p, std=0.7)

    def forward(self, x):
        h = self.embed(x)
        h = h + self.second(torch.tanh(self.first(self.before(h))))
        return self.head(self.after(h))


PLACES = {
    "channels": Place(
        ["embed", "second"], cut=[Tap("first", input=True), Tap("head", input=True)], norms=["before", "after"]
    ),
    "units": Place([Tap("second", input=True)], cut=["first"]),
}
X = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))


def probe(model):
    return model(X.to(next(model.parameters()).dtype))


def gated(seed=None, **more):
    model = Gated(Residual(), PLACES, probe=probe, **more)
    if seed is not None:
        torch.manual_seed(seed)
        for gate in model.gates.values():
            nn.init.normal_(gate.logits, std=3.0)
    return model.double().eval()


def test_open_gates_change_nothing_and_expect_everything():
    model, plain = gated(), Residual().double()
    ones = {name: torch.ones_like(gate.logits) for name, gate in model.gates.items()}
    torch.testing.assert_close(model.masked(ones, X.double()), plain(X.double()), atol=1e-12, rtol=1e-12)
    # all but the first layer's input (4 wide) and the head's output (3 wide) has an axis that is gated
    assert model.prunable() == sum(p.numel() for p in plain.parameters()) - 3
    torch.testing.assert_close(model.expected(), torch.tensor(float(model.prunable())).double(), rtol=1e-4, atol=0)


def test_the_gated_network_by_hand():
    model, plain = gated(seed=2), Residual().double()
    c, u = (model.gates[name].mask() for name in ("channels", "units"))
    live = (c > 0).nonzero().flatten()

    def norm(layer, h):
        out = torch.zeros_like(h)
        out[:, live] = nn.functional.layer_norm(
            h[:, live], [len(live)], layer.weight[live], layer.bias[live], layer.eps
        )
        return out

    h = c * plain.embed(X.double())
    h = h + c * plain.second(u * torch.tanh(plain.first(norm(plain.before, h))))
    torch.testing.assert_close(model(X.double()), plain.head(norm(plain.after, h)), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_fused_it_is_the_gated_network_and_smaller_by_what_is_shut(seed):
    model = gated(seed=seed)
    small = fuse(model, probe=probe, tolerance=1e-12)
    torch.testing.assert_close(probe(small), probe(model), atol=1e-12, rtol=1e-12)
    d, m = (int((model.gates[n].mask() > 0).sum()) for n in ("channels", "units"))
    assert 0 < d < 10 or 0 < m < 7
    assert (small.embed.out_features, small.first.in_features, small.first.out_features) == (d, d, m)
    assert small.before.normalized_shape == (d,) and small.head.weight.shape == (3, d)
    assert sum(p.numel() for p in small.parameters()) == 4 * d + d + 2 * d * m + m + d + 4 * d + 3 * d + 3
    # the gated network is as it was
    assert model.model.embed.out_features == 10


def test_the_expected_number_of_parameters_is_the_mean_over_draws():
    model = gated(seed=3).train()
    torch.manual_seed(0)
    kept = []
    for _ in range(4000):
        d, m = (int((model.gates[n].sample() > 0).sum()) for n in ("channels", "units"))
        kept.append(4 * d + d + 2 * d * m + m + d + 4 * d + 3 * d)
    expected = model.expected()
    assert abs(sum(kept) / len(kept) / expected.item() - 1) < 0.02
    expected.backward()
    assert all((gate.logits.grad > 0).all() for gate in model.gates.values())


def test_all_shut_one_channel_stays_with_nothing_in_it():
    model = gated(start={"channels": torch.full((10,), 4.0), "units": torch.full((7,), -9.0)})
    assert not model.gates["units"].mask().any()
    small = fuse(model, probe=probe)
    assert small.first.out_features == 1 and not small.second.weight.any()


def test_learning_reaches_weights_and_gates_and_a_role_draws_in_training_only():
    torch.manual_seed(0)
    role = Role(Gated(Residual(), PLACES, start=0.5))
    batch = Signals({"input": X})
    role.signals(batch)["logits"].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in role.model.parameters())
    first, second = (role.signals(batch)["logits"] for _ in range(2))
    assert not torch.equal(first, second)
    judge = Role(role.model, "frozen")
    assert torch.equal(judge.signals(batch)["logits"], judge.signals(batch)["logits"])


def test_no_hook_is_left_and_the_state_goes_round():
    model, other = gated(seed=1), gated(seed=2)
    probe(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    names = list(model.state_dict())
    assert [n.removeprefix("model.") for n in names if n.startswith("model.")] == list(Residual().state_dict())
    assert [n for n in names if n.startswith("gates.")] == ["gates.channels.logits", "gates.units.logits"]
    other.load_state_dict(model.state_dict())
    assert torch.equal(probe(other), probe(model))


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.head = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 5, 3), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.two(self.one(x).relu()).mean((2, 3)))


def test_channels_of_convolutions():
    places = {
        "one": Place(["one"], cut=[Tap("two", input=True)], axis=-3),
        "two": Place([Tap("head", input=True)], cut=["two"]),
    }
    x = torch.randn(2, 2, 8, 8)
    model = Gated(Pictures(), places, probe=lambda m: m(x), start={"one": LOGITS, "two": LOGITS[1:]}).eval()
    small = fuse(model, probe=lambda m: m(x))
    assert small.one.out_channels == small.two.in_channels == 4 and small.head.in_features == small.two.out_channels
    torch.testing.assert_close(small(x), model(x))


def test_a_place_that_forgets_a_reader_or_a_norm_is_found_out():
    places = {"channels": Place(["embed", "second"], cut=PLACES["channels"].cut[:1], norms=PLACES["channels"].norms)}
    with pytest.raises(RuntimeError):
        fuse(Gated(Residual(), places, start={"channels": LOGITS.repeat(2)[:10]}), probe=probe)
    # norms that are cut, but took the shut channels' zeros into their means
    places = {"channels": Place(["embed", "second"], cut=[*PLACES["channels"].cut, "before", "after"])}
    with pytest.raises(AssertionError, match="fused, against the gated network: the answer moved by"):
        fuse(Gated(Residual(), places, start={"channels": LOGITS.repeat(2)[:10]}), probe=probe)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Place(["embed"], cut=["first"]), r"stand on sides with \[7, 10\] channels"),
        (Place(["embed"], each=3), "gates in groups of 3 stand on"),
        (Place(["embed"], axis=1), "counted from the end, got 1"),
        (Place(["embed"], norms=["head"]), r"channels"),
        (Place([Tap("before", input=True)]), "channels of the input cannot be told from its weight"),
        (Place(["embed"], cut=["embed"]), "makes gated channels and reads them: untie"),
        (Place(["embde"]), "no submodule 'embde': did you mean 'embed'"),
    ],
)
def test_mistakes_are_named(place, message):
    with pytest.raises(ValueError, match=message):
        Gated(Residual(), {"gate": place})
