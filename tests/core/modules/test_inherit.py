"""Weights inherited: layers by number, leading channels, whole heads; nothing is lost where the shapes are the same."""

import pytest
import torch
from torch import nn

from embodkd.core import Fold, evenly, inherit, inherited


def state(**shapes):
    draws = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}


def encoder(width=12, heads=3, layers=4, hidden=16, seed=0):
    torch.manual_seed(seed)
    layer = nn.TransformerEncoderLayer(width, heads, hidden, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


X = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1))


def test_the_same_shapes_are_the_identity():
    source, model = encoder(), encoder(seed=1)
    for p in source.parameters():
        nn.init.normal_(p)
    assert inherit(model, source, layers={"layers": [0, 1, 2, 3]}, probe=lambda m: m(X)) == []
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), source.state_dict().values(), strict=True)
    )
    assert all(a is not b for a, b in zip(model.parameters(), source.parameters(), strict=True))


def test_the_published_maps():
    assert evenly(12, 6) == [0, 2, 4, 6, 8, 10]
    assert evenly(12, 9) == list(range(9)) and evenly(9, 6) == list(range(6))
    with pytest.raises(ValueError, match="7 layers cannot be inherited from 6"):
        evenly(6, 7)


def test_layers_by_number_and_the_rest_by_name():
    source = state(**{f"tower.layers.{i}.weight": (2, 2) for i in range(12)}, **{"layers.1.weight": (2, 2)})
    target = state(**{f"tower.layers.{i}.weight": (2, 2) for i in range(6)}, **{"layers.1.weight": (2, 2), "new": (1,)})
    found = inherited(target, source, layers={"tower.layers": evenly(12, 6)})
    assert found.left == ["new"]
    for i in range(6):
        assert torch.equal(found.tensors[f"tower.layers.{i}.weight"], source[f"tower.layers.{2 * i}.weight"])
    assert torch.equal(found.tensors["layers.1.weight"], source["layers.1.weight"])


def test_every_axis_is_sliced_from_its_beginning():
    source, target = state(conv=(6, 4, 3, 3), scale=()), state(conv=(4, 2, 3, 3), scale=())
    found = inherited(target, source).tensors
    assert torch.equal(found["conv"], source["conv"][:4, :2]) and torch.equal(found["scale"], source["scale"])


def test_fused_projections_of_a_narrower_network_are_whole_heads_of_the_source():
    source, model = encoder(width=12, heads=3), encoder(width=8, heads=2, layers=2, hidden=10, seed=1)
    left = inherit(model, source, layers={"layers": evenly(4, 2)})
    assert left == []
    for i in range(2):
        own, theirs = model.layers[i].self_attn, source.layers[2 * i].self_attn
        for part in range(3):
            for head in range(2):
                rows = slice(4 * head, 4 * head + 4)
                a = own.in_proj_weight.chunk(3)[part][rows]
                assert torch.equal(a, theirs.in_proj_weight.chunk(3)[part][rows, :8])
        assert torch.equal(own.out_proj.weight, theirs.out_proj.weight[:8, :8])
        assert torch.equal(model.layers[i].linear1.weight, source.layers[2 * i].linear1.weight[:10, :8])


def test_narrower_heads_keep_their_number():
    source, model = encoder(width=12, heads=2), encoder(width=8, heads=2, seed=1)
    inherit(model, source)
    own, theirs = model.layers[0].self_attn, source.layers[0].self_attn
    q, wide = own.in_proj_weight.chunk(3)[0], theirs.in_proj_weight.chunk(3)[0]
    assert torch.equal(q, torch.cat([wide[:4, :8], wide[6:10, :8]]))
    assert torch.equal(
        own.out_proj.weight, torch.cat([theirs.out_proj.weight[:8, :4], theirs.out_proj.weight[:8, 6:10]], 1)
    )
    with pytest.raises(
        ValueError, match=r"2 heads of 4 cannot be whole heads of the source's \(number, width\) \[\(3, 6\)\]"
    ):
        inherit(model, encoder(width=18, heads=3))


def test_fused_projections_are_never_sliced_blindly():
    source, target = state(qkv=(12, 4)), state(qkv=(6, 2))
    with pytest.raises(ValueError, match="'qkv' looks like fused projections"):
        inherited(target, source)
    found = inherited(target, source, folds=[Fold("qkv", (3, -1, 2))]).tensors["qkv"]
    assert torch.equal(found, torch.cat([part[:2, :2] for part in source["qkv"].chunk(3)]))
    for shape in ((3, 2), (5, -1), (-1, -1)):
        with pytest.raises(ValueError, match="cannot be folded to"):
            inherited(target, source, folds=[Fold("qkv", shape)])


def test_a_larger_target_keeps_its_own_or_takes_zeros():
    source, target = state(a=(2, 3), b=(2,)), state(a=(4, 2), b=(2, 1))
    assert inherited(target, source).left == ["a", "b"]
    found = inherited(target, source, beyond="zeros")
    assert torch.equal(found.tensors["a"][:2], source["a"][:, :2]) and not found.tensors["a"][2:].any()
    assert found.left == ["b"]


def test_a_smaller_bert_of_transformers_inherits_everything_of_the_larger():
    transformers = pytest.importorskip("transformers")

    def bert(width, heads, layers):
        torch.manual_seed(width)
        return transformers.BertModel(
            transformers.BertConfig(
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=2 * width,
                vocab_size=9,
            )
        )

    source, model = bert(12, 3, 4), bert(8, 2, 2)
    assert inherit(model, source, layers={"encoder.layer": [1, 3]}) == []
    own, theirs = model.encoder.layer[1].attention.self.value, source.encoder.layer[3].attention.self.value
    assert torch.equal(own.weight, theirs.weight[:8, :8])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"layers\['layers'\] names 2 layers of the source, but there is 'layers.2"):
        inherit(encoder(layers=3), encoder(), layers={"layers": [0, 2]})
