"""Every classifier keeps the contract: named signals, one linear layer last, the published sizes."""

import pytest
import torch

from embodkd.core import Role, Signals
from embodkd.models import MODELS, make_model, model_names

SMALL = {
    "mlp": ({"hidden": [12, 7]}, (1, 8, 8)),
    "cnn": ({"widths": [4, 6]}, (1, 8, 8)),
    "resnet": ({"depths": [1, 1], "widths": [4, 6], "stem_width": 4}, (3, 8, 8)),
    "vit": ({"width": 16, "depth": 2, "patch": 2}, (1, 8, 8)),
    "tiny_vit": ({"widths": [8, 8], "depths": [1, 1], "heads": [1, 2], "windows": [2, 2]}, (1, 16, 16)),
    "efficientnet_lite0": ({"pretrained": False}, (1, 32, 32)),
}
VARIANTS = [
    *((name, {}) for name in SMALL),
    ("mlp", {"hidden": [], "dropout": 0.5}),
    ("cnn", {"pool": "max", "batch_norm": False, "dropout": 0.5}),
    ("resnet", {"stem": "imagenet", "block": "bottleneck"}),
    ("vit", {"pool": "mean", "dropout": 0.1}),
]
SPATIAL = {"cnn": "layers.1", "resnet": "encoder.stages.1"}


def model_and_inputs(name, options, classes=5):
    base, shape = SMALL[name]
    torch.manual_seed(0)
    return make_model(name, shape, classes, **{**base, **options}), torch.rand(6, *shape)


def test_the_variants_cover_every_model():
    judged = {name: MODELS.get(name).judged_as for name in model_names()}
    assert {name for name, _ in VARIANTS} == {
        n for n in model_names() if judged[n] == "classifier" and MODELS.get(n).built_for == ("shape", "classes")
    }


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_the_classifier_of_the_embedding(name, options, training):
    model, x = model_and_inputs(name, options)
    signals = model.train(training)(x)
    assert signals["logits"].shape == (6, 5)
    head = model.classifier
    by_hand = signals["embedding"].double() @ head.weight.double().T + head.bias.double()
    torch.testing.assert_close(signals["logits"].double(), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_gradient_reaches_every_parameter_and_the_input(name, options):
    model, x = model_and_inputs(name, {**options, "dropout": 0.0} if "dropout" in options else options)
    x.requires_grad_()
    model.train()(x)["logits"].square().sum().backward()
    assert x.grad.abs().max() > 0
    lost = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # Keys' biases cancel in the softmax: their gradient is nought, up to rounding, in exact arithmetic.
    assert [n for n in lost if "k_proj.bias" not in n] == []


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_in_evaluation_an_item_does_not_depend_on_its_batch(name, options):
    model, x = model_and_inputs(name, options)
    model.eval()
    with torch.no_grad():
        whole, single = model(x), model(x[2:3])
    for key in whole:
        torch.testing.assert_close(whole[key][2:3], single[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "resnet", "efficientnet_lite0"])
def test_the_embedding_pools_the_map(name):
    model, x = model_and_inputs(name, {})
    signals = model.eval()(x)
    torch.testing.assert_close(signals["embedding"], signals["map"].mean((2, 3)))


def test_a_global_maximum_pools_too():
    model, x = model_and_inputs("cnn", {"pool": "max"})
    signals = model.eval()(x)
    torch.testing.assert_close(signals["embedding"], signals["map"].amax((2, 3)))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_the_embedding_of_a_transformer_comes_from_its_tokens(pool):
    model, x = model_and_inputs("vit", {"pool": pool})
    signals = model.eval()(x)
    tokens_NTD = signals["tokens"]
    assert tokens_NTD.shape == (6, 1 + 16, 16)
    expected = tokens_NTD[:, 0] if pool == "cls" else tokens_NTD[:, 1:].mean(1)
    torch.testing.assert_close(signals["embedding"], expected)


@pytest.mark.parametrize(
    ("name", "tap"),
    [("mlp", "layers.0"), ("cnn", "layers.0"), ("resnet", "encoder.stages.0"), ("vit", "backbone.layers.0")],
)
def test_the_documented_taps_exist_and_role_reads_the_input(name, tap):
    model, x = model_and_inputs(name, {})
    signals = Role(model, "frozen", taps={"inner": tap}).signals(Signals({"input": x}))
    assert len(signals["inner"]) == 6 and signals.logits_NC.shape == (6, 5)


@pytest.mark.parametrize("name", SPATIAL)
def test_the_last_block_is_the_map(name):
    model, x = model_and_inputs(name, {})
    signals = Role(model, "frozen", taps={"last": SPATIAL[name]}).signals(Signals({"input": x}))
    assert torch.equal(signals["last"], signals.map_NDHW)


@pytest.mark.parametrize("name", SMALL)
def test_the_same_seed_gives_the_same_weights(name):
    first, second = (model_and_inputs(name, {})[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("options", "shape", "classes", "published"),
    [
        ({"size": "resnet18", "stem": "imagenet"}, (3, 224, 224), 1000, 11_689_512),
        ({"size": "resnet34", "stem": "imagenet"}, (3, 224, 224), 1000, 21_797_672),
        ({"size": "resnet50", "stem": "imagenet"}, (3, 224, 224), 1000, 25_557_032),
        ({"size": "resnet8x4"}, (3, 32, 32), 100, 1_233_540),
        ({"size": "resnet32x4"}, (3, 32, 32), 100, 7_433_860),
    ],
)
def test_residual_networks_have_the_published_number_of_parameters(options, shape, classes, published):
    with torch.device("meta"):
        model = make_model("resnet", shape, classes, **options)
    assert sum(p.numel() for p in model.parameters()) == published


def test_the_cifar_stem_keeps_the_resolution_and_the_imagenet_stem_quarters_it():
    for stem, side in (("cifar", 8), ("imagenet", 2)):
        model = make_model("resnet", (3, 16, 16), 5, depths=[1, 1], widths=[4, 8], stem=stem)
        assert model(torch.rand(2, 3, 16, 16))["map"].shape == (2, 8, side, side)


@pytest.mark.parametrize(
    ("name", "options", "shape", "complaint"),
    [
        ("resnett", {}, (3, 8, 8), "did you mean 'resnet'"),
        ("mlp", {"hiden": [3]}, (4,), "did you mean 'hidden'"),
        ("mlp", {"hidden": 3}, (4,), "model mlp.hidden: 3"),
        ("bert_classifier", {}, (64,), "these say shape and classes; models of such data: cnn, .*vit$"),
        ("cnn", {}, (64,), "reads images"),
        ("cnn", {"widths": [4, 4, 4, 4, 4]}, (1, 8, 8), "halve images"),
        ("resnet", {"size": "resnet8x5"}, (3, 8, 8), "did you mean 'resnet8x4'"),
        ("resnet", {"depths": [1, 1]}, (3, 8, 8), "differ in length"),
        ("vit", {"patch": 3}, (1, 8, 8), "must divide"),
        ("efficientnet_lite0", {"pretrained": False}, (2, 32, 32), "2 channels"),
    ],
)
def test_mistakes_are_named(name, options, shape, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_model(name, shape, 5, **options)


def test_one_class_is_not_a_classifier():
    with pytest.raises(ValueError, match="at least 2 classes"):
        make_model("mlp", (4,), 1)


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"embodkd\[vision\]"):
        make_model("vit", (1, 8, 8), 5)


def test_every_model_has_a_title():
    assert all(MODELS.metadata(name)["title"] for name in MODELS)


def test_a_residual_net_normalises_what_it_reads_by_the_channels_of_the_data():
    options = {"depths": [1], "widths": [4], "stem_width": 4}
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    plain, own = (make_model("resnet", (3, 8, 8), 4, **options, **more) for more in ({}, {"mean": mean, "std": std}))
    own.load_state_dict(plain.state_dict())
    x = torch.rand(5, 3, 8, 8)
    by_hand = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    with torch.no_grad():
        torch.testing.assert_close(own.eval()(x)["logits"], plain.eval()(by_hand)["logits"])
    for wrong, said in (({"mean": [0.5]}, "mean and std are 3 numbers"), ({"std": [0.2, 0.0, 0.2]}, "std.1.: must be")):
        with pytest.raises(ValueError, match=said):
            make_model("resnet", (3, 8, 8), 4, **options, **wrong)
