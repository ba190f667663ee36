"""Image data sets of the hub: read from their parquet files, or blank ones of the same shape."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from embodkd.data import make_data
from embodkd.data.hub_images import KNOWN


@pytest.mark.parametrize("repo", KNOWN)
def test_blank_images_have_the_shape_and_all_classes_and_need_no_file(repo):
    data = make_data("hub_images", repo=repo, blank=True, corruptions={"noise": 1})
    assert data.shape == KNOWN[repo].shape and data.classes == KNOWN[repo].classes
    for part in (data.train, data.validation, data.test):
        assert set(part.fields["label"].tolist()) == set(range(data.classes))
    assert "noise" in data.extra
    again, other = (make_data("hub_images", seed, repo=repo, blank=True) for seed in (0, 1))
    assert torch.equal(data.test.fields["input"], again.test.fields["input"])
    assert not torch.equal(data.test.fields["input"], other.test.fields["input"])


def test_parity_keeps_the_class():
    data = make_data("hub_images", repo="uoft-cs/cifar10", blank=True, parity=True)
    fields = data.test.fields
    assert data.classes == 2 and torch.equal(fields["label"], fields["subclass"] % 2)


def test_blank_images_of_an_unknown_shape_are_refused():
    with pytest.raises(ValueError, match=r"blank=true needs.*uoft-cs/cifar10"):
        make_data("hub_images", repo="some/thing", blank=True)


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "png")
    return {"bytes": stream.getvalue(), "path": None}


@pytest.fixture
def folder(tmp_path):
    """40 training images in two files and 8 test images, 5 x 4 pixels, 4 classes, as the hub keeps them."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (48, 5, 4, 3), dtype=np.uint8)
    labels = np.arange(48) % 4
    files = {
        "train-00000-of-00002": range(20),
        "train-00001-of-00002": range(20, 40),
        "test-00000-of-00001": range(40, 48),
    }
    for name, rows in files.items():
        content = {"picture": [png(images[k]) for k in rows], "kind": [int(labels[k]) for k in rows]}
        (tmp_path / "data").mkdir(exist_ok=True)
        parquet.write_table(pyarrow.table(content), tmp_path / "data" / f"{name}.parquet")
    return tmp_path, images, labels


def test_files_are_read_in_order_with_their_pixels(folder):
    path, images, labels = folder
    data = make_data("hub_images", repo=str(path), image="picture", label="kind", validation=8)
    assert data.shape == (3, 5, 4) and data.classes == 4 and data.train.size() == 32
    test = data.test.fields
    assert np.array_equal((test["input"] * 255).round().byte().permute(0, 2, 3, 1).numpy(), images[40:])
    assert test["label"].tolist() == labels[40:].tolist() and test["sample_id"].tolist() == list(range(40, 48))
    for part in (data.train, data.validation):
        ids = part.fields["sample_id"].numpy()
        assert np.array_equal((part.fields["input"] * 255).round().byte().permute(0, 2, 3, 1).numpy(), images[ids])


def test_a_picture_is_the_same_item_in_another_folder_and_classes_are_called_as_the_files_call_them(folder, tmp_path):
    import pyarrow
    from pyarrow import parquet

    path, _, _ = folder
    options = {"image": "picture", "label": "kind", "validation": 8}
    plain = make_data("hub_images", repo=str(path), **options)
    assert plain.names == ("class 0", "class 1", "class 2", "class 3")
    (tmp_path / "other").mkdir()
    features = {"kind": {"names": ["cat", "dog", "ant", "bee"], "_type": "ClassLabel"}}
    said = json.dumps({"info": {"features": features}})
    for file in sorted((path / "data").glob("*.parquet")):
        # The same rows the other way round, and the names beside them.
        table = parquet.read_table(file)
        turned = table.take(pyarrow.array(range(len(table))[::-1])).replace_schema_metadata({"huggingface": said})
        parquet.write_table(turned, tmp_path / "other" / file.name)
    other = make_data("hub_images", 1, repo=str(tmp_path / "other"), **options)
    assert other.names == ("cat", "dog", "ant", "bee")
    rows = [data.items.rows for data in (plain, other)]
    assert set(rows[0]["test"].tolist()) == set(rows[1]["test"].tolist())
    both = [set(torch.cat([r["train"], r["validation"]]).tolist()) for r in rows]
    assert both[0] == both[1] and len(both[0]) == 40 and plain.items.source == other.items.source


def test_only_what_is_learned_from_is_cropped_and_mirrored(folder):
    path, _, _ = folder
    options = {"repo": str(path), "image": "picture", "label": "kind", "validation": 8, "unlabelled": 8}
    plain, moving = (make_data("hub_images", **options, **more) for more in ({}, {"crop": 1, "flip": True}))
    for name, part in moving.parts().items():
        first, later = (part.gather(np.arange(part.size()), epoch)["input"] for epoch in (0, 1))
        assert torch.equal(first, plain.part(name).fields["input"])
        assert torch.equal(later, first) == (name in ("validation", "test"))
    assert torch.equal(moving.items.rows["train"], plain.items.rows["train"])


def test_wrong_columns_and_missing_files_are_named(folder, tmp_path):
    path, _, _ = folder
    with pytest.raises(ValueError, match=r"no column 'image', it has picture, kind"):
        make_data("hub_images", repo=str(path), validation=8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no file train\*\.parquet"):
        make_data("hub_images", repo=str(tmp_path / "empty"), validation=8)


def test_a_hub_that_cannot_be_reached_is_one_clear_error(monkeypatch):
    import huggingface_hub

    def unreachable(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ValueError, match=r"uoft-cs/cifar10 cannot be had from the hub \(no route\); give a folder"):
        make_data("hub_images", repo="uoft-cs/cifar10")
