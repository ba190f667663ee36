"""Encoders of transformers, gated everywhere and fused: the smaller network answers as the gated one, in 1e-12."""

import copy

import pytest
import torch
from torch import nn

from embodkd.core import Gated, Tap, encoder_places, fuse
from embodkd.core.modules.axes import take_shapes
from embodkd.core.modules.spans import Shift

transformers = pytest.importorskip("transformers")
D, H, M, LAYERS = 12, 3, 10, 2
SIZES = {"hidden_size": D, "num_hidden_layers": LAYERS, "num_attention_heads": H, "intermediate_size": M}
IDS = torch.randint(3, 20, (3, 6), generator=torch.Generator().manual_seed(0))
PICTURES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def vit():
    model = transformers.ViTModel(transformers.ViTConfig(**SIZES, image_size=8, patch_size=4), add_pooling_layer=True)
    e = "embeddings"
    places = encoder_places(
        model,
        "layers",
        embeddings=[e],
        into=[f"{e}.cls_token", f"{e}.position_embeddings", f"{e}.patch_embeddings.projection"],
        readers=[Tap("pooler.dense", input=True)],
        norms=["layernorm"],
    )
    return model, places, lambda m: m(PICTURES).pooler_output


def clip_vision():
    config = transformers.CLIPVisionConfig(**SIZES, image_size=8, patch_size=4, projection_dim=5)
    model = transformers.CLIPVisionModelWithProjection(config)
    e = "vision_model.embeddings"
    places = encoder_places(
        model,
        "vision_model.encoder.layers",
        embeddings=[e],
        into=[f"{e}.class_embedding", f"{e}.position_embedding", f"{e}.patch_embedding"],
        readers=[Tap("visual_projection", input=True)],
        norms=["vision_model.pre_layrnorm", "vision_model.post_layernorm"],
    )
    return model, places, lambda m: m(PICTURES).image_embeds


def clip_text():
    config = transformers.CLIPTextConfig(
        **SIZES, vocab_size=20, max_position_embeddings=8, projection_dim=5, eos_token_id=2
    )
    model = transformers.CLIPTextModelWithProjection(config)
    e = "text_model.embeddings"
    places = encoder_places(
        model,
        "text_model.encoder.layers",
        embeddings=[f"{e}.token_embedding", f"{e}.position_embedding"],
        readers=[Tap("text_projection", input=True)],
        norms=["text_model.final_layer_norm"],
        prefix="text_",
    )
    return model, places, lambda m: m(IDS).text_embeds


def bert():
    model = transformers.BertModel(transformers.BertConfig(**SIZES, vocab_size=20))
    e = "embeddings"
    places = encoder_places(
        model,
        "encoder.layer",
        embeddings=[f"{e}.word_embeddings", f"{e}.position_embeddings", f"{e}.token_type_embeddings"],
        readers=[Tap("pooler.dense", input=True)],
        norms=[f"{e}.LayerNorm"],
    )
    return model, places, lambda m: m(IDS).pooler_output


ENCODERS = [vit, clip_vision, clip_text, bert]


def gated(make, seed=0, shift=1.0):
    torch.manual_seed(seed)
    model, places, probe = make()
    model = model.double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.4)
    found = Gated(model, places, probe=probe).double()
    for gate in found.gates.values():
        nn.init.normal_(gate.logits, mean=shift, std=3.0)
    return found.eval(), probe


def shut(model, number, kinds=("heads", "units")):
    with torch.no_grad():
        for name, gate in model.gates.items():
            if name.endswith(tuple(f"{k}_{number}" for k in kinds)):
                gate.logits.fill_(-9.0)


@pytest.mark.parametrize("make", ENCODERS)
@pytest.mark.parametrize("seed", range(3))
def test_fused_it_is_the_gated_encoder(make, seed):
    model, probe = gated(make, seed)
    small = fuse(model, probe=probe, tolerance=1e-12)
    torch.testing.assert_close(probe(small), probe(model), atol=1e-12, rtol=1e-12)
    assert not torch.allclose(probe(small), probe(model.model))
    kept = {name: int((gate.mask() > 0).sum()) for name, gate in model.gates.items()}
    assert sum(kept.values()) < sum(len(gate.logits) for gate in model.gates.values())
    for name, module in small.named_modules():
        if "num_heads" in vars(module) or "num_attention_heads" in vars(module):
            number = next(part for part in name.split(".") if part.isdigit())
            heads = next(v for n, v in kept.items() if n.endswith(f"heads_{number}"))
            assert vars(module).get("num_heads", vars(module).get("num_attention_heads")) == max(heads, 1)
    # what is deleted is what the count of open gates says: all tensors of a block by hand
    block = [n for n, _ in small.named_parameters() if ".0." in f".{n}"]
    d, m = (next(max(v, 1) for n, v in kept.items() if n.endswith(e)) for e in ("channels", "units_0"))
    w = next(max(v, 1) for n, v in kept.items() if n.endswith("heads_0")) * D // H
    assert sum(small.get_parameter(n).numel() for n in block) == 4 * d * w + 3 * w + d + 2 * d * m + m + d + 4 * d


@pytest.mark.parametrize("make", ENCODERS)
@pytest.mark.parametrize("kinds", [("heads",), ("units",), ("heads", "units")])
def test_a_block_without_heads_or_units_keeps_its_biases(make, kinds):
    model, probe = gated(make)
    shut(model, 0, kinds)
    small = fuse(model, probe=probe, tolerance=1e-12)
    torch.testing.assert_close(probe(small), probe(model), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("make", "stack"), [(vit, "layers"), (clip_vision, "vision_model.encoder.layers")])
def test_a_block_that_is_shut_as_a_whole_becomes_a_shift(make, stack):
    model, probe = gated(make)
    shut(model, 1)
    blocks = {f"{stack}.{i}": [f"heads_{i}", f"units_{i}"] for i in range(LAYERS)}
    small = fuse(model, probe=probe, blocks=blocks, tolerance=1e-12)
    assert isinstance(small.get_submodule(f"{stack}.1"), Shift) and not isinstance(
        small.get_submodule(f"{stack}.0"), Shift
    )
    torch.testing.assert_close(probe(small), probe(model), atol=1e-12, rtol=1e-12)
    with pytest.raises(ValueError, match="fusing it to a constant needs the probe"):
        fuse(model, blocks=blocks)


def test_with_a_norm_behind_the_sum_a_shut_block_is_no_shift_and_that_is_found_out():
    model, probe = gated(bert)
    shut(model, 1)
    with pytest.raises(AssertionError, match="fused, against the gated network"):
        fuse(model, probe=probe, blocks={"encoder.layer.1": ["heads_1", "units_1"]})


@pytest.mark.parametrize("make", ENCODERS)
def test_a_fused_state_loads_into_a_network_that_takes_its_shapes(make):
    model, probe = gated(make)
    small = fuse(model, probe=probe)
    fresh = copy.deepcopy(model.model)
    for p in fresh.parameters():
        nn.init.zeros_(p)
    state = small.state_dict()
    take_shapes(fresh, state)
    fresh.load_state_dict(state)
    assert torch.equal(probe(fresh), probe(small))
    with pytest.raises(ValueError, match="cannot take its shape"):
        take_shapes(fresh, {})


def test_the_next_stage_begins_with_what_is_left():
    """TinyCLIP's chain: the small network in the leading slices of the large one, shut gates beyond."""
    from embodkd.core import inherited

    model, probe = gated(clip_vision)
    small = fuse(model, probe=probe)
    large = copy.deepcopy(model.model)
    found = inherited(large.state_dict(), small.state_dict(), beyond="zeros")
    assert not found.left
    large.load_state_dict(found.tensors)
    masks = {}
    for name, gate in model.gates.items():
        kept = max(1, int((gate.mask() > 0).sum()))
        masks[name] = (torch.arange(len(gate.logits)) < kept).double()
    again = Gated(large, model.places)
    torch.testing.assert_close(again.masked(masks, PICTURES).image_embeds, probe(small), atol=1e-12, rtol=1e-12)


def test_an_encoder_of_another_make_is_refused():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, H, M), 1, enable_nested_tensor=False)
    with pytest.raises(ValueError, match="cannot be told from its linear layers, self_attn.out_proj, linear1, linear2"):
        encoder_places(model, "layers", embeddings=[])
