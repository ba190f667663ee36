"""Spans of blocks replaced: themselves by themselves changes nothing, a switch changes its own span only."""

import itertools

import pytest
import torch
from torch import nn

from embodkd.core import Spanned, replace_spans
from embodkd.core.modules.spans import Chain, LinearMap, Shift, Skip, spans_replaced

D = 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(D, D)

    def forward(self, x, condition, scale=1.0):
        return x + scale * torch.tanh(self.inner(x) + condition)


class Stack(nn.Module):
    def __init__(self, count=5):
        super().__init__()
        torch.manual_seed(0)
        self.blocks, self.head = nn.ModuleList(Block() for _ in range(count)), nn.Linear(D, 2)

    def forward(self, x):
        for block in self.blocks:
            x = block(x, x.mean() * 0 + 0.5, scale=0.7)
        return self.head(x)


X = torch.randn(3, D, generator=torch.Generator().manual_seed(1))


def probe(model):
    return model(X)


def by_hand(model, functions):
    x = X
    for function in functions:
        x = function(x)
    return model.head(x)


def live(block):
    return lambda x: block(x, torch.tensor(0.5), scale=0.7)


def test_a_span_in_its_own_place_changes_no_bit():
    model = Stack()
    for first, last in itertools.combinations_with_replacement(range(5), 2):
        chain = Chain(*model.blocks[first : last + 1])
        assert torch.equal(replace_spans(model, "blocks", {(first, last): chain}, probe=probe)(X), model(X))


def test_what_stands_in_gets_the_spans_input_and_gives_its_output():
    model, linear, shift = Stack(), LinearMap(D), Shift(torch.arange(1.0, D + 1))
    nn.init.normal_(linear.map.weight)
    new = replace_spans(model, "blocks", {(1, 2): linear, (4, 4): shift}, probe=probe)
    b = model.blocks
    wanted = by_hand(model, [live(b[0]), lambda x: x + linear.map(x), live(b[3]), lambda x: x + torch.arange(1.0, 5)])
    torch.testing.assert_close(new(X), wanted)
    assert len(new.blocks) == 5 and not [n for n in new.state_dict() if n.startswith("blocks.2")]
    assert torch.equal(new.blocks[3].inner.weight, b[3].inner.weight)


def test_a_linear_map_begins_as_a_skip():
    model = Stack()
    skip, linear = (replace_spans(model, "blocks", {(1, 3): m}) for m in (Skip(), LinearMap(D)))
    assert torch.equal(skip(X), by_hand(model, [live(model.blocks[0]), live(model.blocks[4])]))
    assert torch.equal(linear(X), skip(X))


def spanned():
    torch.manual_seed(3)
    instead = {(0, 1): Block(), (2, 2): Skip(), (3, 4): Block()}
    return Spanned(Stack(), "blocks", instead, probe=probe), instead


def test_every_subset_of_switches_runs_and_equals_the_network_made_of_it():
    model, instead = spanned()
    plain = Stack()
    answers = []
    for size in range(4):
        for on in itertools.combinations(instead, size):
            model.on = set(on)
            answers.append(model(X))
            assert torch.equal(answers[-1], replace_spans(plain, "blocks", model.chosen(), probe=probe)(X))
    assert torch.equal(answers[0], plain(X))
    assert len({tuple(a.flatten().tolist()) for a in answers}) == 8


def test_names_and_state_do_not_depend_on_the_switches():
    model, instead = spanned()
    names = list(model.state_dict())
    assert [n.removeprefix("model.") for n in names if n.startswith("model.")] == list(Stack().state_dict())
    assert {n.rsplit(".", 2)[0] for n in names if n.startswith("instead.")} == {"instead.0-1", "instead.3-4"}
    model.on = set(instead)
    assert list(model.state_dict()) == names
    other, _ = spanned()
    for p in other.parameters():
        nn.init.normal_(p)
    model.load_state_dict(other.state_dict())
    other.on = set(instead)
    assert torch.equal(model(X), other(X))


def test_gradients_of_a_replacement_are_its_own_only():
    model, instead = spanned()
    model.on = {(3, 4)}
    model(X).sum().backward()
    touched = {n for n, p in model.named_parameters() if p.grad is not None}
    assert touched == {
        *(
            n
            for n, _ in model.named_parameters()
            if n.startswith(("model.blocks.0", "model.blocks.1", "model.blocks.2"))
        ),
        "instead.3-4.inner.weight",
        "instead.3-4.inner.bias",
        "model.head.weight",
        "model.head.bias",
    }


def test_after_an_error_everything_is_in_its_place():
    model = Stack()
    before = list(model.blocks)
    with pytest.raises(RuntimeError), spans_replaced(model, "blocks", {(1, 3): nn.Linear(9, 9)}):
        raise RuntimeError
    assert list(model.blocks) == before


def test_blocks_that_are_no_chain_are_found_out():
    class Crossed(Stack):
        def forward(self, x):
            first = self.blocks[0](x, 0.5)
            return self.head(self.blocks[1](x, 0.5) + first)

    with pytest.raises(AssertionError, match=r"span 0 to 1 of 'blocks' in its own place: the answer moved by"):
        replace_spans(Crossed(2), "blocks", {(0, 1): Skip()}, probe=probe)


@pytest.mark.parametrize(
    ("stack", "spans", "message"),
    [
        ("blocks", [(0, 2), (2, 3)], r"a span \(2, 3\)"),
        ("blocks", [(3, 5)], r"a span \(3, 5\) in 'blocks' of 5 blocks"),
        ("blocks", [(2, 1)], r"a span \(2, 1\)"),
        ("head", [(0, 0)], "'head' is a Linear, not a list of blocks"),
        ("block", [(0, 0)], "no submodule 'block': did you mean 'blocks'"),
    ],
)
def test_mistakes_are_named(stack, spans, message):
    with pytest.raises(ValueError, match=message):
        replace_spans(Stack(), stack, {ends: Skip() for ends in spans})
    model, _ = spanned()
    model.on = {(0, 4)}
    with pytest.raises(ValueError, match=r"there is no replacement of \[\(0, 4\)\]"):
        model(X)
