"""Each stage of attention read, and replaced: by what was there nothing changes, by something else what follows does.

Replacing inside fused attention opens it into plain products: the answer is then equal within 1e-12 in float64, not in
every bit.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from embodkd.core import Role, Signals, Tap, tapped
from embodkd.core.modules.attention import STAGES

N, L, H, D = 2, 5, 3, 12
FORMS = ("multihead", "multihead with weights", "bert eager", "bert sdpa")


class Multihead(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attend, self.need_weights = nn.MultiheadAttention(D, H, batch_first=True), need_weights

    def forward(self, x):
        padding = torch.tensor([[False] * L, [False] * (L - 2) + [True] * 2])
        return self.attend(x, x, x, need_weights=self.need_weights, key_padding_mask=padding)[0]


class Bert(nn.Module):
    def __init__(self, implementation):
        super().__init__()
        transformers = pytest.importorskip("transformers")
        config = transformers.BertConfig(
            hidden_size=D, num_hidden_layers=1, num_attention_heads=H, intermediate_size=8, vocab_size=9
        )
        config._attn_implementation = implementation
        model = transformers.BertModel(config, add_pooling_layer=False)
        self.attend = model.encoder.layer[0].attention.self

    def forward(self, x):
        return self.attend(x, attention_mask=torch.zeros(N, 1, L, L, dtype=x.dtype))[0]


def network(form):
    torch.manual_seed(0)
    model = Multihead("weights" in form) if form.startswith("multi") else Bert(form.split()[1])
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    return model.double().eval()


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def taps(**replace):
    return {s: Tap("attend", attention=s, replace=replace.get(s)) for s in STAGES}


def run(form, taps):
    """Answer, signals and gradients (of the sum of the answer's cosines) of a network."""
    model, x = network(form), draw(N, L, D).requires_grad_()
    with tapped(model, taps) as captured:
        answer = model(x)
    # Bert's part ends with the context: replaced by a constant, nothing is left to have a gradient
    if answer.requires_grad:
        answer.cos().sum().backward()
    return answer, captured, {"x": x.grad, **{n: p.grad for n, p in model.named_parameters()}}


def values(form, x):
    """V per head, from the weights of the network."""
    attend = network(form).attend
    if isinstance(attend, nn.MultiheadAttention):
        v = F.linear(x, attend.in_proj_weight[2 * D :], attend.in_proj_bias[2 * D :])
    else:
        v = attend.value(x)
    return v.unflatten(-1, (H, D // H)).transpose(1, 2)


@pytest.mark.parametrize("form", FORMS)
def test_stages_follow_from_each_other(form):
    _, s, _ = run(form, taps())
    torch.testing.assert_close(s["probs"], s["scores"].softmax(-1))
    assert torch.equal(s["weights"], s["probs"])
    torch.testing.assert_close(s["context"], s["probs"] @ values(form, draw(N, L, D)))
    assert s["context"].shape == (N, H, L, D // H) and s["probs"].shape == (N, H, L, L)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stage", STAGES)
def test_replacing_by_what_was_there_changes_neither_answer_nor_gradient(form, stage):
    plain, _, slopes = run(form, {})
    answer, _, found = run(form, taps(**{stage: lambda tensor: tensor}))
    torch.testing.assert_close(answer, plain, atol=1e-12, rtol=1e-12)
    for name, slope in slopes.items():
        torch.testing.assert_close(found[name], slope, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_reading_leaves_every_bit(form):
    assert torch.equal(run(form, taps())[0], run(form, {})[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stage", STAGES)
def test_what_follows_is_computed_from_the_replacement_and_what_goes_before_is_not(form, stage):
    own, new = run(form, taps())[1], draw(N, H, L, D // H if stage == "context" else L, seed=2)
    _, s, _ = run(form, taps(**{stage: lambda tensor: new}))
    at = STAGES.index(stage)
    for before in STAGES[:at]:
        torch.testing.assert_close(s[before], own[before])
    assert torch.equal(s[stage], new)
    expected = {"scores": new.softmax(-1), "probs": new, "weights": new}.get(stage)
    for after in set(STAGES[at + 1 :]) - {"context"}:
        torch.testing.assert_close(s[after], expected)
    if stage != "context":
        torch.testing.assert_close(s["context"], expected @ values(form, draw(N, L, D)))


@pytest.mark.parametrize("form", FORMS)
def test_replaced_probabilities_cut_the_gradient_of_queries_and_keys_off(form):
    _, _, slopes = run(form, taps(probs=lambda p: p.detach()))
    if form.startswith("multi"):
        cut, left = slopes["attend.in_proj_weight"][: 2 * D], slopes["attend.in_proj_weight"][2 * D :]
        assert not cut.any() and left.any()
    else:
        assert slopes["attend.query.weight"] is None and slopes["attend.key.weight"] is None
        assert slopes["attend.value.weight"].any()


@pytest.mark.parametrize("form", FORMS)
def test_dropout_of_the_network_comes_after_the_replacement(form):
    model, ones = network(form).train(), torch.ones(N, H, L, L, dtype=torch.float64)
    if form.startswith("multi"):
        model.attend.dropout = 0.5
    else:
        model.attend.dropout.p = 0.5
    with tapped(model, taps(probs=lambda p: ones)) as s:
        model(draw(N, L, D))
    # each one is dropped, or doubled
    assert s["weights"].unique().tolist() == [0.0, 2.0]
    torch.testing.assert_close(s["context"], s["weights"] @ values(form, draw(N, L, D)))


def test_rows_where_everything_is_forbidden_stay_zero():
    class Fused(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x, attn_mask=torch.zeros(L, L, dtype=torch.bool).tril(-1))

    x = draw(N, H, L, 4).requires_grad_()
    model = nn.Sequential(Fused())
    with tapped(model, {"p": Tap("0", attention="probs", replace=lambda p: p)}):
        opened = model(x)
    torch.testing.assert_close(opened, model(x))
    opened.sum().backward()
    assert not x.grad.isnan().any()


def test_grouped_heads_and_causal_masks_are_opened_too():
    class Fused(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    q, k, v = draw(N, 6, L, 4), draw(N, 2, L, 4, seed=2), draw(N, 2, L, 4, seed=3)
    model = nn.Sequential()
    model.add_module("f", Fused())
    with tapped(model, {"p": Tap("f", attention="scores", replace=lambda s: s)}) as s:
        opened = model.f(q, k, v)
    torch.testing.assert_close(opened, model.f(q, k, v), atol=1e-12, rtol=1e-12)
    assert s["p"].isneginf().any() and s["p"].shape == (N, 6, L, L)


@pytest.mark.parametrize("form", FORMS)
def test_a_later_tap_sees_what_an_earlier_one_put_there(form):
    both = {
        "first": Tap("attend", attention="probs", replace=torch.zeros_like),
        "second": Tap("attend", attention="probs", replace=lambda p: p + 1),
        "read": Tap("attend", attention="probs"),
    }
    _, s, _ = run(form, both)
    assert s["first"].eq(0).all() and s["second"].eq(1).all() and s["read"].eq(1).all()


def test_two_modules_one_inside_the_other():
    model = nn.Sequential(network("multihead"))
    nested = {
        "outer": Tap("0", attention="context"),
        "inner": Tap("0.attend", attention="probs", replace=torch.zeros_like),
    }
    with tapped(model, nested) as s:
        model(draw(N, L, D))
    assert s["inner"].eq(0).all() and s["outer"].eq(0).all() and s["outer"].shape == (N, H, L, D // H)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="attention 'probabilities' is not one of scores, probs, weights, context"):
        Tap("attend", attention="probabilities")
    with pytest.raises(ValueError, match="not both"):
        Tap("attend", replace=torch.zeros_like, replace_from=lambda t, b: t)
    with pytest.raises(ValueError, match=r"probs of an attention have shape \(2, 3, 5, 5\) and cannot"):
        run("multihead", taps(probs=lambda p: p[:1]))
    assert torch.overrides._len_torch_function_stack() == 0

    class NoProduct(nn.Module):
        def forward(self, x):
            return torch.einsum("nls,nsd->nld", F.softmax(x @ x.mT, -1), x)

    model = nn.Sequential(NoProduct())
    with (
        pytest.raises(ValueError, match="no weights and no context of an attention"),
        tapped(model, {s: Tap("0", attention=s) for s in STAGES}),
    ):
        model(draw(N, L, D))


@pytest.mark.parametrize("form", FORMS)
def test_a_replacement_reads_the_batch_of_this_pass(form):
    def mixed(tensor, batch):
        share = batch["share"][:, None, None, None]
        return share * batch["t.probs"] + (1 - share) * tensor

    role = Role(network(form), mode="eval", taps={"probs": Tap("attend", attention="probs", replace_from=mixed)})
    own = run(form, taps())[1]["probs"]
    for seed in (5, 6):
        other, share = draw(N, H, L, L, seed=seed).softmax(-1), torch.tensor([1.0, 0.0], dtype=torch.float64)
        s = role.signals(Signals({"input": draw(N, L, D), "t.probs": other, "share": share}))
        assert torch.equal(s["probs"][0], other[0])
        torch.testing.assert_close(s["probs"][1], own[1])
    with pytest.raises(ValueError, match="this pass was given none"), tapped(role.model, role.taps):
        role.model(draw(N, L, D))
