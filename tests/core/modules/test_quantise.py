"""Fake quantisers: few values, the best scale, straight-through gradients; and layers that keep their names."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from embodkd.core import eight_bit, quantise, set_quantised, ternary, ternary_rows
from embodkd.core.fingerprint import digest

CLIP = 2.5


@st.composite
def tensors(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 9)))
    seed, scale = draw(st.integers(0, 10**6)), draw(st.sampled_from([0.0, 1e-40, 1e-3, 0.5, 3.0, 1e4]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale
    return torch.where(torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.2, 0.0, x)


def clipped(x):
    return x.clamp(-CLIP, CLIP)


@given(tensors())
def test_ternary_weights_have_three_values_and_the_scale_of_least_squares(x):
    for quantiser, rows in ((ternary, [x]), (ternary_rows, list(x))):
        q = quantiser(x)
        for source, found in zip(rows, [q] if quantiser is ternary else list(q), strict=True):
            sizes = found.abs().unique()
            assert len(found.unique()) <= 3 and len(sizes[sizes > 0]) <= 1
            c, t = clipped(source), found.sign()
            # the support is what lies above 0.7 of the mean magnitude
            assert torch.equal(t != 0, c.abs() > 0.7 * c.abs().mean())
            if t.any():
                best = (c * t).sum() / t.square().sum()
                torch.testing.assert_close(found.abs().max(), best)


@given(tensors())
def test_ternarising_twice_is_ternarising_once(x):
    for quantiser in (ternary, ternary_rows):
        torch.testing.assert_close(quantiser(quantiser(x)), quantiser(x))


@given(tensors(), st.sampled_from([0.25, 0.5, 2.0]))
def test_the_support_does_not_depend_on_the_scale_while_nothing_is_clipped(x, factor):
    small = x / max(1.0, x.abs().max().item())
    assert torch.equal(ternary(small * factor) != 0, ternary(small) != 0)


@given(tensors())
def test_eight_bits_are_at_most_255_multiples_of_one_step_half_a_step_away(x):
    q, c = eight_bit(x), clipped(x)
    peak = c.abs().max()
    if peak < 1e-36:
        assert not q.any()
        return
    steps = q * 127 / peak
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert steps.abs().max() <= 127.001 and (q - c).abs().max() <= peak / 254 * 1.001
    torch.testing.assert_close(eight_bit(q), q)


def test_the_formula_by_hand_with_an_outlier_and_halves_to_even():
    # the clip is real: 100 becomes 2.5, and the scale is 127 / 2.5
    step = 2.5 / 127
    x = torch.tensor([100.0, -0.5 * step, 0.5 * step, 1.5 * step, 2.6 * step], dtype=torch.float64)
    wanted = torch.tensor([2.5, 0.0, 0.0, 2 * step, 3 * step], dtype=torch.float64)
    torch.testing.assert_close(eight_bit(x), wanted)


@given(tensors())
def test_gradients_pass_straight_through_inside_the_clip_and_nowhere_else(x):
    x = torch.cat([x.flatten(), torch.tensor([CLIP, -CLIP, torch.inf, -torch.inf], dtype=x.dtype)])[None]
    upstream = torch.arange(1.0, x.numel() + 1, dtype=x.dtype)[None]
    for quantiser in (ternary, ternary_rows, eight_bit):
        leaf = x.clone().requires_grad_()
        (quantiser(leaf) * upstream).sum().backward()
        assert torch.equal(leaf.grad, torch.where(x.abs() < CLIP, upstream, 0.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_zeros_stay_zeros_value_and_gradient(dtype):
    for quantiser in (ternary, ternary_rows, eight_bit):
        x = torch.zeros(3, 4, dtype=dtype, requires_grad=True)
        q = quantiser(x)
        q.sum().backward()
        assert q.dtype == dtype and not q.any() and x.grad.eq(1).all()
    one_row = torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=dtype)
    assert torch.equal(ternary_rows(one_row), one_row)


def test_half_precision_has_the_scales_of_full_precision():
    x = torch.randn(400, 50) * 1e-3
    for quantiser in (ternary, eight_bit):
        for dtype in (torch.float16, torch.bfloat16):
            assert torch.equal(quantiser(x.to(dtype)), quantiser(x.to(dtype).float()).to(dtype))


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(7, 6, padding_idx=0)
        self.first, self.head, self.norm = nn.Linear(6, 6), nn.Linear(6, 7, bias=False), nn.LayerNorm(6)

    def forward(self, ids):
        return self.head(self.norm(self.first(self.words(ids)).relu()))


IDS = torch.tensor([[1, 2, 0], [6, 5, 1]])


def quantised():
    model = Reader()
    return model, quantise(model, ["first", "words"], input=eight_bit, probe=lambda m: m(IDS))


def test_a_quantised_network_is_the_formula_and_switched_off_the_network():
    model, plain = quantised()[0], Reader()
    looked_up = plain.words(IDS)
    table = ternary(plain.words.weight)
    hidden = nn.functional.linear(eight_bit(table[IDS]), ternary(plain.first.weight), plain.first.bias)
    assert torch.equal(model(IDS), plain.head(plain.norm(hidden.relu()))) and looked_up.shape == hidden.shape
    assert not torch.equal(model(IDS), plain(IDS))
    set_quantised(model, False)
    assert torch.equal(model(IDS), plain(IDS))
    set_quantised(model, True, ["words"])
    assert model.words.quantised and not model.first.quantised


def test_names_stay_and_states_load_both_ways():
    (model, names), plain = quantised(), Reader()
    assert names == ["words", "first"]
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in plain.named_parameters()]
    other = Reader()
    nn.init.normal_(other.first.weight)
    model.load_state_dict(other.state_dict())
    set_quantised(model, False)
    assert torch.equal(model(IDS), other(IDS))
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain(IDS), other(IDS))


def test_parameters_are_the_same_objects_and_learn():
    model = Reader()
    before = dict(model.named_parameters())
    quantise(model, "first|head", output=eight_bit)
    assert all(before[n] is p for n, p in model.named_parameters())
    model(IDS).square().sum().backward()
    assert model.first.weight.grad.any() and model.words.weight.grad[1].any()


def test_tied_weights_stay_tied_and_a_layer_used_twice_is_one_layer():
    model = Reader()
    model.head.weight = model.words.weight
    model.again = model.first
    quantise(model, "first|words|head")
    assert model.head.weight is model.words.weight and model.again is model.first and model.again.quantised


def test_a_copy_and_its_digest():
    model = quantised()[0]
    assert torch.equal(copy.deepcopy(model)(IDS), model(IDS))
    other = Reader()
    quantise(other, ["first", "words"], weight=partial(ternary, clip=1.0), input=eight_bit)
    assert len({digest(m) for m in (model, other, Reader())}) == 3


def test_a_pattern_that_names_nothing_is_an_error():
    with pytest.raises(ValueError, match="no submodule to change has a name like 'firts': did you mean 'first'"):
        quantise(Reader(), ["firts"])
