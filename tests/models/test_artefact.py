"""Model folders: bit for bit the same answers after loading, no pickle, one clear error for everything else."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from embodkd.core import TensorData
from embodkd.core.sources.provenance import Provenance
from embodkd.data import make_data
from embodkd.models import MODELS, load_model, make_model, model_names, save_model
from embodkd.parts.networks.reused_classifier import Borrowed, borrow

OPTIONS = {
    "mlp": {"hidden": [9, 5]},
    "cnn": {"widths": [4], "pool": "max"},
    "resnet": {"depths": [1], "widths": [4], "stem_width": 4},
    "vit": {"width": 8, "depth": 1, "heads": 2, "patch": 8},
    "tiny_vit": {"widths": [4, 8], "depths": [1, 1], "heads": [1, 2], "windows": [2, 2]},
    "efficientnet_lite0": {"pretrained": False},
    "denoiser": {"width": 8, "blocks": 1, "conditional": True, "steps": 1, "jump": 40},
    "dit_denoiser": {"depth": 1, "heads": 1, "head_width": 8, "patch": 8, "schedule": "edm", "prediction": "edm"},
}


@pytest.fixture
def saved(tmp_path):
    return save_model(tmp_path / "model", make_model("mlp", (1, 8, 8), 10), lineage={"method": "kd", "teacher": "t"})


@pytest.mark.parametrize("name", OPTIONS)
def test_answers_the_same_bits_after_loading(name, tmp_path):
    model = make_model(name, (3, 32, 32), 4, **OPTIONS[name])
    x = torch.rand(5, 3, 32, 32) if model.reads == "input" else model.golden_input(5)
    model.train()(x)  # moves the batch statistics, which must travel too
    save_model(tmp_path / "m", model)
    assert model.training
    loaded, config = load_model(tmp_path / "m")
    assert not loaded.training and (config["model"], config["classes"]) == (name, 4)
    with torch.no_grad():
        before, after = model.eval()(x), loaded(x)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_every_model_of_pictures_is_tried_here():
    assert set(OPTIONS) == {name for name in model_names() if MODELS.get(name).built_for == ("shape", "classes")}


def test_a_network_with_a_borrowed_classifier_answers_the_same_bits_after_loading(tmp_path):
    student, lender = (make_model("cnn", (1, 8, 8), 4, widths=widths) for widths in ([3, 5], [8, 16]))
    model, x = borrow(student, lender, TensorData({"input": torch.rand(2, 1, 8, 8)})), torch.rand(5, 1, 8, 8)
    model.train()(x)
    loaded, config = load_model(save_model(tmp_path / "m", model))
    assert isinstance(loaded, Borrowed) and config["borrowed"]["width"] == 16
    with torch.no_grad():
        before, after = model.eval()(x), loaded(x)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(loaded.classifier.weight, lender.classifier.weight)


def test_a_loaded_model_can_be_saved_again(saved, tmp_path):
    loaded, _ = load_model(saved)
    again, config = load_model(save_model(tmp_path / "again", loaded))
    assert config["arguments"] == json.loads((saved / "config.json").read_text())["arguments"]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), loaded.parameters(), strict=True))


def test_folder_holds_weights_json_and_card_only(saved):
    assert sorted(p.name for p in saved.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "model.safetensors.sha256",
    ]  # fmt: skip
    card = (saved / "README.md").read_text()
    assert card.startswith("---\n") and "- teacher: `t`" in card


def test_names_and_items_travel_with_the_model_and_an_older_folder_is_silent(tmp_path):
    data = make_data("digits", train=60, validation=40, classes=[7, 3, 1])
    model = make_model("mlp", (1, 8, 8), 3)
    model.provenance = Provenance.of(data)
    folder = save_model(tmp_path / "m", model)
    again = load_model(save_model(tmp_path / "again", load_model(folder)[0]))[0].provenance
    assert again.classes == ("7", "3", "1") and not again.silent
    for use, part in (("train", "train"), ("validation", "validation"), ("test", "test")):
        assert torch.equal(again.items[use][data.items.source], data.items.rows[part].sort().values)
    assert "in the order of the logits: 7, 3, 1" in (folder / "README.md").read_text()
    config = json.loads((folder / "config.json").read_text())
    del config["provenance"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "items.safetensors").unlink()
    assert load_model(folder)[0].provenance == Provenance(silent=True)


def test_loading_leaves_the_random_stream_alone(saved):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_model(saved)
    assert torch.equal(torch.rand(3), expected)


def test_changed_weights_are_noticed(saved):
    tensors = load_file(saved / "model.safetensors")
    tensors["classifier.bias"] += 0.1
    save_file(tensors, saved / "model.safetensors", metadata={"arrays": "[]"})
    (saved / "model.safetensors.sha256").unlink()  # as where somebody changed them on purpose
    with pytest.raises(ValueError, match="answers differently"):
        load_model(saved)


def test_pickles_are_never_opened(tmp_path):
    bomb = tmp_path / "model.pth"
    bomb.write_bytes(b"cos\nsystem\n(S'touch bombed'\ntR.")
    with pytest.raises(ValueError, match="pickle"):
        load_model(bomb)
    with pytest.raises(ValueError, match=r"model\.pth may be a pickle"):
        load_model(tmp_path)


def test_what_does_not_fit_is_refused(saved, tmp_path):
    other = save_model(tmp_path / "other", make_model("mlp", (1, 8, 8), 10, hidden=[3]))
    for name in ("model.safetensors", "model.safetensors.sha256"):
        (saved / name).write_bytes((other / name).read_bytes())
    with pytest.raises(ValueError, match="do not belong together"):
        load_model(saved)
    meta = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**meta, "model": "mpl"}))
    with pytest.raises(ValueError, match="did you mean 'mlp'"):
        load_model(saved)
    with pytest.raises(ValueError, match="did you mean 'model'"):
        load_model(saved.parent / "modle")


def test_broken_weights_and_foreign_modules_are_not_saved(tmp_path):
    model = make_model("mlp", (4,), 3)
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        save_model(tmp_path / "p", model)
    with pytest.raises(ValueError, match="makes a Linear"):
        save_model(tmp_path / "p", nn.Linear(4, 3))
    assert not (tmp_path / "p").exists()
