"""Depths are read right from the names that models of libraries have."""

import pytest
import torch
from torch import nn

from embodkd.core import depths

BLOCK = ("norm1.weight", "attn.qkv.weight", "mlp.0.weight", "mlp.fc2.bias")


def beit_layer(name, blocks):
    """The number of a layer from below, as BEiT's fine-tuning counts them for timm's names."""
    if name in ("cls_token", "mask_token", "pos_embed") or name.startswith("patch_embed"):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks") else blocks + 1


@pytest.mark.parametrize("blocks", [1, 2, 12])
@pytest.mark.parametrize("inside", ["", "net.", "student.trunk."])
def test_of_timms_names_they_are_those_of_beit(blocks, inside):
    own = ["cls_token", "pos_embed", "patch_embed.proj.weight", "norm_pre.weight"]
    own += [f"blocks.{k}.{name}" for k in range(blocks) for name in BLOCK]
    own += ["norm.weight", "fc_norm.bias", "head.weight"]
    found = depths([inside + name for name in own])
    for name in own:
        layer = 0 if name == "norm_pre.weight" else beit_layer(name, blocks)
        assert found[inside + name] == blocks + 1 - layer, name


def test_stages_of_blocks_are_one_chain_and_what_stands_between_is_part_of_it():
    names = [
        "patch_embed.seq.0.c.weight",
        "patch_embed.seq.2.bn.bias",
        "layers.0.blocks.0.conv1.c.weight",
        "layers.0.blocks.1.conv1.c.weight",
        "layers.0.downsample.conv1.c.weight",
        "layers.1.blocks.0.attn.qkv.weight",
        "layers.1.blocks.0.mlp.fc1.bias",
        "layers.1.blocks.1.local_conv.c.weight",
        "norm_head.weight",
        "head.bias",
    ]
    assert list(depths(names).values()) == [6, 6, 5, 4, 3, 2, 2, 1, 0, 0]


def test_of_a_residual_network():
    names = [
        "conv1.weight",
        "bn1.bias",
        "layer1.0.conv1.weight",
        "layer1.0.downsample.0.weight",
        "layer1.1.bn2.weight",
        "layer2.0.conv1.weight",
        "fc.weight",
    ]
    assert list(depths(names).values()) == [4, 4, 3, 3, 2, 1, 0]


def test_towers_are_counted_apart_and_what_joins_them_stands_behind_both():
    names = [
        "logit_scale",
        "positional_embedding",
        "text_projection",
        "visual.class_embedding",
        "visual.proj",
        "visual.conv1.weight",
        "visual.transformer.resblocks.0.ln_1.weight",
        "visual.transformer.resblocks.1.ln_1.weight",
        "visual.ln_post.weight",
        "transformer.resblocks.0.mlp.c_fc.weight",
        "token_embedding.weight",
        "ln_final.weight",
    ]
    assert list(depths(names).values()) == [0, 2, 0, 3, 0, 3, 2, 1, 0, 1, 2, 0]


def test_helpers_and_models_without_blocks_have_none_below_them():
    names = ["helper.head.0.weight", "helper.head.2.bias", "blocks.0.weight", "blocks.1.weight"]
    assert depths(names) == dict(zip(names, [0, 0, 2, 1], strict=True))
    assert set(depths(["embed.weight", "body.weight", "scale"]).values()) == {0} and depths([]) == {}


def of_transformers(kind, **sizes):
    transformers = pytest.importorskip("transformers", reason="needs transformers (extra: vision)")
    with torch.device("meta"):
        return getattr(transformers, kind)(getattr(transformers, sizes.pop("config"))(**sizes))


SMALL = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3}


@pytest.mark.parametrize(
    ("kind", "options", "first", "last"),
    [
        ("ViTForImageClassification", {"config": "ViTConfig", **SMALL}, "embeddings.", "classifier."),
        ("BertForSequenceClassification", {"config": "BertConfig", **SMALL}, "embeddings.", "classifier."),
        ("GPT2LMHeadModel", {"config": "GPT2Config", "n_embd": 8, "n_head": 2, "n_layer": 3}, ".wte.", "ln_f."),
        ("LlamaForCausalLM", {"config": "LlamaConfig", **SMALL}, "embed_tokens", "lm_head"),
        ("CLIPVisionModelWithProjection", {"config": "CLIPVisionConfig", **SMALL}, "embeddings.", "visual_projection"),
    ],
)
def test_of_the_models_of_transformers(kind, options, first, last):
    model: nn.Module = of_transformers(kind, **options)
    found = depths([name for name, _ in model.named_parameters()])
    for name, depth in found.items():
        numbers = [int(part) for part in name.split(".") if part.isdigit()]
        if numbers:
            assert depth == 3 - numbers[0], name
        else:
            assert depth in (0, 4), name
    assert {depth for name, depth in found.items() if first in name} == {4}
    assert {depth for name, depth in found.items() if last in name} == {0}
