"""Attention scores read from three implementations, each against the product of its own queries and keys."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from embodkd.core import Tap, tapped
from embodkd.core.modules.attention import fused_scores, twice_differentiable

N, L, S, H, D = 2, 5, 7, 3, 12


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Attention(nn.Module):
    """nn.MultiheadAttention as a part of a network, called with these keywords."""

    def __init__(self, **call):
        super().__init__()
        torch.manual_seed(0)
        self.attend, self.call = nn.MultiheadAttention(D, H, batch_first=True), call

    def forward(self, x):
        return self.attend(x, x, x, **self.call)[0]


def by_hand(attend, x):
    """Q K^T / sqrt(d) of nn.MultiheadAttention, one item and head at a time."""
    q, k, _ = (x @ attend.in_proj_weight.T + attend.in_proj_bias).chunk(3, -1)
    size = D // H
    rows = [[q[n, :, h * size :][:, :size] @ k[n, :, h * size :][:, :size].T for h in range(H)] for n in range(len(x))]
    return torch.stack([torch.stack(row) for row in rows]) / math.sqrt(size)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_multihead_attention(need_weights, training):
    model, x = Attention(need_weights=need_weights).train(training), draw(N, L, D)
    plain = model(x)
    with tapped(model, {"scores": Tap("attend", attention=True)}) as captured, torch.set_grad_enabled(training):
        torch.testing.assert_close(model(x), plain)
    torch.testing.assert_close(captured["scores"], by_hand(model.attend, x))


@pytest.mark.parametrize("need_weights", [True, False])
def test_masks_of_multihead_attention_are_in_the_scores(need_weights):
    forbidden = torch.ones(L, L, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * L, [False] * (L - 2) + [True] * 2])
    model, x = Attention(need_weights=need_weights, attn_mask=forbidden, key_padding_mask=padding), draw(N, L, D)
    with tapped(model, {"scores": Tap("attend", attention=True)}) as captured:
        model(x)
    expected = by_hand(model.attend, x).masked_fill(forbidden | padding[:, None, None], -math.inf)
    torch.testing.assert_close(captured["scores"], expected)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_a_vit_of_transformers(implementation):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=D, num_hidden_layers=2, num_attention_heads=H, intermediate_size=8, image_size=8, patch_size=4
    )
    config._attn_implementation = implementation
    model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    name, x = "layers.1.attention", draw(N, 3, 8, 8)
    taps = {"q": f"{name}.q_proj", "k": f"{name}.k_proj", "scores": Tap(name, attention=True)}
    with torch.no_grad():
        plain = model(x).last_hidden_state
        with tapped(model, taps) as captured:
            assert torch.equal(model(x).last_hidden_state, plain)
    q, k = (captured[n].unflatten(-1, (H, D // H)).transpose(1, 2) for n in ("q", "k"))
    torch.testing.assert_close(captured["scores"], q @ k.transpose(2, 3) / math.sqrt(D // H))
    assert captured["scores"].shape == (N, H, 5, 5)


MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "boolean": {"attn_mask": draw(L, S) > -0.5},
    "added": {"attn_mask": draw(N, 1, L, S)},
    "scaled": {"scale": 0.3},
    "grouped": {"enable_gqa": True},
}


@pytest.mark.parametrize("options", MASKS.values(), ids=MASKS)
def test_softmax_of_the_fused_scores_gives_the_fused_answer(options):
    heads = 1 if "enable_gqa" in options else H
    q, k, v = draw(N, H, L, D), draw(N, heads, S, D, seed=1), draw(N, heads, S, D, seed=2)
    answer = fused_scores(q, k, v, **options).softmax(-1) @ v.expand(N, H, S, D)
    torch.testing.assert_close(answer, F.scaled_dot_product_attention(q, k, v, **options))


def test_scores_carry_gradient():
    for need_weights in (True, False):
        model = Attention(need_weights=need_weights)
        with tapped(model, {"scores": Tap("attend", attention=True)}) as captured:
            model(draw(N, L, D))
        captured["scores"].square().sum().backward()
        assert model.attend.in_proj_weight.grad[: 2 * D].any() and not model.attend.in_proj_weight.grad[2 * D :].any()


def test_two_layers_are_told_apart_and_nothing_is_left_behind():
    model = nn.Sequential(Attention(need_weights=False), Attention(need_weights=True))
    x = draw(N, L, D)
    taps = {"first": Tap("0.attend", attention=True), "second": Tap("1.attend", attention=True), "between": "0"}
    with tapped(model, taps) as captured:
        model(x)
    torch.testing.assert_close(captured["first"], by_hand(model[0].attend, x))
    torch.testing.assert_close(captured["second"], by_hand(model[1].attend, captured["between"]))
    captured.clear()
    model(x)
    assert not captured and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.overrides._len_torch_function_stack() == 0


def test_the_reader_is_off_again_after_a_failed_forward_pass():
    model = Attention()
    with pytest.raises((RuntimeError, AssertionError)), tapped(model, {"scores": Tap("attend", attention=True)}):
        model(draw(N, L, D + 1))
    assert torch.overrides._len_torch_function_stack() == 0


def test_a_module_without_attention_and_a_tap_that_wants_more_are_refused():
    model = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="computes no attention"), tapped(model, {"s": Tap("0", attention=True)}):
        model(torch.zeros(1, 3))
    assert torch.overrides._len_torch_function_stack() == 0
    with pytest.raises(ValueError, match="is no input and has no parts"):
        Tap("0", attention=True, input=True)


@pytest.mark.parametrize("need_weights", [True, False])
def test_second_derivatives_of_attention_are_those_of_finite_differences(need_weights):
    model = Attention(need_weights=need_weights).double()
    x = draw(N, L, D).double().requires_grad_()
    with twice_differentiable():
        assert torch.autograd.gradgradcheck(lambda x: model(x).square().sum(), x)
        plain = model(x)
    torch.testing.assert_close(plain, model(x))
