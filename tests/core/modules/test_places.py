"""A tap finds its tensor wherever a call holds it, by position, by keyword, in a tuple or mapping, and puts it back."""

from collections import namedtuple

import pytest
import torch
from torch import nn

from embodkd.core import Signals, Tap, tapped

Pair = namedtuple("Pair", "left right")


class Sum(nn.Module):
    def forward(self, first, second=None, *, third=None, **more):
        return first + 10 * second + 100 * third + sum(more.values())


class Calls(nn.Module):
    """Calls its part in one of several ways with the same values."""

    def __init__(self, how):
        super().__init__()
        self.part, self.how = Sum(), how

    def forward(self, x):
        if self.how == "by position":
            return self.part(x, x + 1, third=x + 2, fourth=x + 3)
        return self.part(third=x + 2, second=x + 1, first=x, fourth=x + 3)


@pytest.mark.parametrize("how", ["by position", "by keyword"])
@pytest.mark.parametrize(
    ("name", "offset", "weight"), [("first", 0, 1), ("second", 1, 10), ("third", 2, 100), ("fourth", 3, 1)]
)
def test_an_input_by_its_name(how, name, offset, weight):
    model, x = Calls(how), torch.arange(3.0)
    plain = model(x)
    with tapped(model, {"in": Tap("part", input=name)}) as captured:
        assert torch.equal(model(x), plain)
    assert torch.equal(captured["in"], x + offset)
    with tapped(model, {"in": Tap("part", input=name, replace=lambda t: t + 1)}) as captured:
        assert torch.equal(model(x), plain + weight)
    assert torch.equal(captured["in"], x + offset + 1)


def test_the_first_positional_input_as_ever():
    x = torch.arange(3.0)
    with tapped(Calls("by position"), {"in": Tap("part", input=True)}) as captured:
        pass
    model = Calls("by position")
    with tapped(model, {"in": Tap("part", input=True, replace=torch.zeros_like)}) as captured:
        assert torch.equal(model(x), Calls("by position")(x) - x)
    assert captured["in"].eq(0).all()


class Gives(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        a, b = x + 1, x + 2
        return {
            "tuple": (a, b),
            "list": [a, b],
            "named": Pair(a, b),
            "mapping": {"a": a, "b": b},
            "signals": Signals({"a": a, "b": b}),
        }[self.form]


class Reads(nn.Module):
    def forward(self, pair):
        return pair["a"] + 10 * pair["b"] if hasattr(pair, "keys") else pair[0] + 10 * pair[1]


@pytest.mark.parametrize(
    ("form", "parts"),
    [("tuple", (0, 1)), ("list", (0, -1)), ("named", (0, 1)), ("mapping", ("a", "b")), ("signals", ("a", "b"))],
)
@pytest.mark.parametrize("side", ["output", "input"])
def test_a_part_of_what_is_handed_on(form, parts, side):
    model, x = nn.Sequential(Gives(form), Reads()), torch.arange(3.0)
    plain = model(x)
    place = {"module": "1", "input": True} if side == "input" else {"module": "0"}
    for at, (part, weight) in enumerate(zip(parts, (1, 10), strict=True)):
        with tapped(model, {"p": Tap(**place, part=part)}) as captured:
            assert torch.equal(model(x), plain)
        assert torch.equal(captured["p"], x + 1 + at)
        with tapped(model, {"p": Tap(**place, part=part, replace=lambda t: t + 1)}):
            assert torch.equal(model(x), plain + weight)
        assert torch.equal(model(x), plain)


def test_a_part_of_an_output_of_transformers_keeps_its_class():
    transformers = pytest.importorskip("transformers")
    output = transformers.modeling_outputs.BaseModelOutputWithPooling

    class Model(nn.Module):
        def forward(self, x):
            return output(last_hidden_state=x, pooler_output=x + 1)

    class Head(nn.Module):
        def forward(self, given):
            assert isinstance(given, output) and given["pooler_output"] is given.pooler_output
            return given.pooler_output + 10 * given[0]

    model, x = nn.Sequential(Model(), Head()), torch.arange(3.0)
    with tapped(model, {"p": Tap("0", part="pooler_output", replace=torch.zeros_like)}):
        assert torch.equal(model(x), 10 * x)


@pytest.mark.parametrize(
    ("model", "tap", "message"),
    [
        (Calls("by keyword"), Tap("part", input=True), "called by keyword only; name the input, one of third, second"),
        (nn.Sequential(nn.Linear(3, 3)), Tap("0", input="inputs"), "has no input 'inputs': did you mean 'input'"),
        (Calls("by position"), Tap("part", input="fifth"), "this call does not give the input 'fifth'"),
        (nn.Sequential(Gives("tuple"), Reads()), Tap("0", part=2), "a tuple, not anything with a tensor as its part 2"),
        (nn.Sequential(Gives("mapping"), Reads()), Tap("0", part="c"), "no tensor 'c', but a, b"),
        (nn.Sequential(Gives("mapping"), Reads()), Tap("0"), "gives a dict, not a tensor"),
    ],
)
def test_mistakes_are_named(model, tap, message):
    with pytest.raises(ValueError, match=message), tapped(model, {"p": tap}):
        model(torch.arange(3.0))


def test_the_wrong_name_is_an_error_before_the_first_batch():
    with (
        pytest.raises(ValueError, match="has no input 'inputs'"),
        tapped(nn.Sequential(nn.Linear(3, 3)), {"p": Tap("0", input="inputs")}),
    ):
        pass
