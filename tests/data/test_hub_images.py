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
    with pytest.raises(ValueError, match=r"empty has no parquet files"):
        make_data("hub_images", repo=str(tmp_path / "empty"), validation=8)


def test_a_hub_that_cannot_be_reached_is_one_clear_error(monkeypatch):
    import huggingface_hub

    def unreachable(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ValueError, match=r"uoft-cs/cifar10 cannot be had from the hub \(no route\); give a folder"):
        make_data("hub_images", repo="uoft-cs/cifar10")


def store(path, pictures, labels, said=None):
    """A file of pictures, given as arrays or as what is stored for them, and labels."""
    import pyarrow
    from pyarrow import parquet

    stored = [png(one) if isinstance(one, np.ndarray) else one for one in pictures]
    table = pyarrow.table({"image": pyarrow.array(stored), "label": pyarrow.array(labels)})
    if said is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": {"label": said}}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


def grey(count, kind=np.uint8):
    """Ramps of 4 x 5 pixels over all values of the kind, each another."""
    top = np.iinfo(kind).max
    return [(np.arange(20).reshape(4, 5) * (top // 20) + k).astype(kind) for k in range(count)]


def both(folder, pictures, labels, said=None):
    """The same rows as training and as test."""
    for part in ("train", "test"):
        store(folder / f"{part}-00000-of-00001.parquet", pictures, labels, said)
    return make_data("hub_images", repo=str(folder), validation=2)


def test_pixels_of_two_bytes_keep_their_whole_range(tmp_path):
    data = both(tmp_path, grey(8, np.uint16), [0, 1] * 4)
    assert data.shape == (1, 4, 5)
    torch.testing.assert_close(data.test.fields["input"][3, 0], torch.tensor(grey(8, np.uint16)[3] / 65535.0).float())


def test_a_gap_between_labels_is_no_class_and_texts_are(tmp_path):
    data = both(tmp_path / "gaps", grey(8), [300, 0, 100, 200] * 2)
    assert data.names == ("class 0", "class 100", "class 200", "class 300")
    assert data.test.fields["label"].tolist() == [3, 0, 1, 2] * 2
    assert both(tmp_path / "one", grey(8), [1, 2] * 4).names == ("class 1", "class 2")
    data = both(tmp_path / "texts", grey(8), ["dog", "cat"] * 4)
    assert data.names == ("cat", "dog") and data.test.fields["label"].tolist() == [1, 0] * 4


def test_classes_are_those_that_the_set_names_also_where_one_has_no_picture(tmp_path):
    said = {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}
    data = both(tmp_path / "named", grey(8), [0, 2] * 4, said)
    assert data.names == ("ant", "bee", "cat") and data.test.fields["label"].tolist() == [0, 2] * 4
    with pytest.raises(ValueError, match="8 rows are labelled -1, which is none of its 3 classes"):
        both(tmp_path / "hidden", grey(8), [-1] * 8, said)


def test_a_grey_picture_among_coloured_ones_is_coloured(tmp_path):
    colour = [np.stack([one, 255 - one, one], 2) for one in grey(7)]
    data = both(tmp_path, [*colour, grey(8)[7]], [0, 1] * 4)
    assert data.shape == (3, 4, 5)
    last = data.test.fields["input"][7] * 255
    assert all(np.array_equal(last[c].round().numpy(), grey(8)[7]) for c in range(3))


def test_only_the_splits_of_that_very_name_are_read_unless_others_are_meant(tmp_path):
    store(tmp_path / "train-00000-of-00001.parquet", grey(8), [0, 1] * 4)
    store(tmp_path / "train_noisy-00000-of-00001.parquet", grey(20), [0, 1] * 10)
    store(tmp_path / "test_ood-00000-of-00001.parquet", grey(6), [0, 1] * 3)
    with pytest.raises(ValueError, match=r"no split 'test', it has .*'test_ood'.*splits=\{test: "):
        make_data("hub_images", repo=str(tmp_path), validation=2)
    data = make_data("hub_images", repo=str(tmp_path), validation=2, splits={"test": "test_ood"})
    assert (data.train.size(), data.test.size()) == (6, 6)
    with pytest.raises(ValueError, match=r"splits\.valid: only train and test"):
        make_data("hub_images", repo=str(tmp_path), splits={"valid": "train"})


def test_of_several_sets_in_one_folder_one_is_chosen(tmp_path):
    for k, name in enumerate(("plain", "cropped")):
        for part in ("train", "test"):
            store(tmp_path / name / part / "0000.parquet", grey(8 + 2 * k), [0, 1] * (4 + k))
    with pytest.raises(ValueError, match=r"there are 2 data sets in one, 'cropped', 'plain': say which, config="):
        make_data("hub_images", repo=str(tmp_path), validation=2)
    sizes = [
        make_data("hub_images", repo=str(tmp_path), validation=2, config=c).test.size() for c in ("plain", "cropped")
    ]
    assert sizes == [8, 10]
    with pytest.raises(ValueError, match="no configuration 'plane': did you mean 'plain'"):
        make_data("hub_images", repo=str(tmp_path), config="plane")


def test_the_card_of_a_set_says_which_file_is_which(tmp_path):
    store(tmp_path / "a.parquet", grey(8), [0, 1] * 4)
    store(tmp_path / "b.parquet", grey(6), [0, 1] * 3)
    files = [{"split": "train", "path": "a.parquet"}, {"split": "test", "path": ["b*.parquet", "../*.parquet"]}]
    card = "configs:\n- config_name: main\n  data_files: " + json.dumps(files)
    (tmp_path / "README.md").write_text(f"---\n{card}\n---\nA card.")
    data = make_data("hub_images", repo=str(tmp_path), validation=2)
    assert (data.train.size(), data.test.size()) == (6, 6)


@pytest.mark.parametrize(
    "pictures, labels, message",
    [
        (lambda g: g, [0, 1, None, 1], "row 2 has no label"),
        (lambda g: g, [[0], [1], [0], [1]], r"column 'label' holds list<.*>: a label is one whole number or one text"),
        (lambda g: g, [0.0, 1.0, 0.5, 1.0], "column 'label' holds double"),
        (lambda g: [*g[:3], None], [0, 1, 0, 1], "row 3: has no picture"),
        (
            lambda g: [*g[:3], {"bytes": png(g[3])["bytes"][:40], "path": None}],
            [0, 1, 0, 1],
            "row 3: not a readable picture",
        ),
        (lambda g: [g[0], {"bytes": b"what", "path": None}, *g[2:]], [0, 1, 0, 1], "row 1: not a readable picture"),
        (
            lambda g: [{"bytes": None, "path": "a.png"}] * 4,
            [0, 1, 0, 1],
            "row 0: holds only the name of a picture, 'a.png'",
        ),
        (lambda g: [{"bytes": None, "path": "/etc/passwd"}] * 4, [0, 1, 0, 1], "row 0: holds only the name"),
        (
            lambda g: [*g[:3], np.zeros((9, 9), np.uint8)],
            [0, 1, 0, 1],
            "row 3: a picture of 9x9 pixels among others of 4x5",
        ),
        (lambda g: [7] * 4, [0, 1, 0, 1], "row 0: holds a int, not an encoded picture"),
    ],
)
def test_what_is_no_picture_or_no_class_is_named_by_file_and_row(tmp_path, pictures, labels, message):
    with pytest.raises(ValueError, match=r"train-00000-of-00001.parquet: .*" + message):
        both(tmp_path, pictures(grey(4)), labels)


def test_a_damaged_file_is_named(tmp_path):
    file = store(tmp_path / "train.parquet", grey(4), [0, 1] * 2)
    store(tmp_path / "test.parquet", grey(4), [0, 1] * 2)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"train.parquet is not a readable parquet file"):
        make_data("hub_images", repo=str(tmp_path))


def test_pictures_beside_the_table_are_read_by_their_names(tmp_path):
    Image.fromarray(grey(1)[0]).save(tmp_path / "a.png")
    named = {"bytes": None, "path": "a.png"}
    data = both(tmp_path, [*(png(one) for one in grey(8)[1:]), named], [0, 1] * 4)
    assert np.array_equal((data.test.fields["input"][7, 0] * 255).round().numpy(), grey(1)[0])
