"""Emoji: parts are split by concept, styles can be kept out; on the real pictures too, where they have been fetched."""

import pytest
import torch

from embodkd.core.runs.files import write_json, write_tensors
from embodkd.data import assets, make_data
from embodkd.data.emoji import STYLES

CONCEPTS = 90


@pytest.fixture
def drawn(cache):
    """90 concepts in four styles; groups 0, 1, component and 3; a picture's colour says concept and style."""
    folder = cache / "emoji"
    folder.mkdir(parents=True)
    concept, style = (grid.flatten() for grid in torch.meshgrid(torch.arange(CONCEPTS), torch.arange(4), indexing="ij"))
    group = concept % 4
    images = torch.stack([concept, style, group], 1).byte()[:, :, None, None].expand(-1, 3, 64, 64).contiguous()
    tensors = {"images": images, "concept": concept, "style": style, "group": group, "subgroup": concept % 12}
    write_tensors(folder / "data.safetensors", tensors)
    names = {"groups": ["a", "b", "component", "d"], "subgroups": [str(i) for i in range(12)]}
    write_json(folder / "origin.json", names)


def concepts(part):
    return set(part.fields["concept"].tolist())


@pytest.mark.parametrize("label", ["group", "subgroup"])
@pytest.mark.parametrize("unseen", ["", "noto", "fluent"])
def test_a_concept_lies_in_one_split_and_an_unseen_style_in_none(drawn, label, unseen):
    data = make_data("emoji", label=label, unseen=unseen)
    splits = [data.train, data.validation, data.test]
    sets = [concepts(part) for part in splits]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    if unseen:
        number = list(STYLES).index(unseen)
        assert all((part.fields["style"] != number).all() for part in splits)
        assert (data.part("unseen").fields["style"] == number).all()
        assert concepts(data.part("unseen")) == sets[2]


def test_groups_without_the_components_are_numbered_without_a_gap(drawn):
    data = make_data("emoji", label="group", size=16)
    assert data.classes == 3 and data.shape == (3, 16, 16)
    for part in data.parts().values():
        expected = torch.tensor([0, 1, -1, 2])[part.fields["group"]]
        assert torch.equal(part.fields["label"], expected)
    assert sum(part.size() for part in data.parts().values()) == 4 * int((torch.arange(CONCEPTS) % 4 != 2).sum())


def test_classes_are_called_as_the_set_calls_them_and_a_style_is_an_item_of_its_own(drawn):
    data = make_data("emoji", label="group", unseen="noto", corruptions={"noise": 1})
    assert data.names == ("a", "b", "d")
    for name in ("train", "test", "unseen"):
        fields = data.part(name).fields
        assert torch.equal(data.items.rows[name], 4 * fields["concept"] + fields["style"])
    assert torch.equal(data.items.rows["noise"], data.items.rows["test"]) and not data.items.pools


def test_pictures_keep_their_labels(drawn):
    data = make_data("emoji", label="subgroup", corruptions={"noise": 1})
    assert data.classes == 12
    for part in (data.train, data.validation, data.test):
        colour = (part.fields["input"][:, :, 0, 0] * 255).round().long()
        assert torch.equal(colour[:, 0], part.fields["concept"]) and torch.equal(colour[:, 1], part.fields["style"])
        assert torch.equal(part.fields["label"], part.fields["concept"] % 12)


def test_splits_follow_the_shares_and_the_seed(drawn):
    data = make_data("emoji", label="subgroup", validation=0.2, test=0.3)
    assert [len(concepts(p)) for p in (data.validation, data.test, data.train)] == [18, 27, 45]
    again, other = make_data("emoji", label="subgroup", validation=0.2, test=0.3), make_data("emoji", seed=1)
    assert concepts(again.train) == concepts(data.train) != concepts(other.train)


def test_mistakes_are_named(drawn):
    with pytest.raises(ValueError, match="did you mean 'twemoji'"):
        make_data("emoji", unseen="twemojis")
    with pytest.raises(ValueError, match="smaller sum"):
        make_data("emoji", validation=0.6, test=0.6)
    with pytest.raises(ValueError, match="expected one of 16, 32, 64"):
        make_data("emoji", size=48)


def test_a_pool_of_the_web_has_no_labels_and_none_of_the_labelled_pictures(drawn):
    pytest.importorskip("skimage", reason="extra vision is not installed")
    options = {"size": 16, "train": 30, "pool": 40, "crops": 6}
    data, whole = make_data("emoji_web", **options), make_data("emoji", size=16)
    pool = data.part("pool").fields
    assert "label" not in pool and pool["origin"].bincount().tolist() == [40, 6] and data.train.size() == 30
    colours = (pool["input"][:40, :, 0, 0] * 255).round().long()
    train = (data.train.fields["input"][:, :, 0, 0] * 255).round().long()
    assert not {tuple(c) for c in colours.tolist()} & {tuple(c) for c in train.tolist()}
    known = {tuple(c) for c in (whole.train.fields["input"][:, :, 0, 0] * 255).round().long().tolist()}
    assert {tuple(c) for c in [*colours.tolist(), *train.tolist()]} <= known
    assert torch.equal(data.test.fields["input"], whole.test.fields["input"]) and data.names == whole.names
    assert (data.items.rows["pool"][40:] == -1).all() and (data.items.rows["pool"][:40] >= 0).all()
    assert make_data("emoji_web", **{**options, "crops": 0}).part("pool").size() == 40


@pytest.mark.skipif(not assets.present("emoji"), reason="embodkd data get emoji")
def test_the_real_pictures_are_as_many_as_stated():
    tensors, origin = assets.load("emoji")
    assert len(tensors["images"]) == 6903 and len(tensors["concept"].unique()) == 1868
    count = tensors["subgroup"].bincount()
    assert (len(count), count.min(), count.max()) == (100, 4, 463) and len(origin["subgroups"]) == 100
    in_all_four = tensors["concept"].bincount() == 4
    assert in_all_four.sum() == 1538
    data = make_data("emoji", unseen="fluent")
    assert data.classes == 9 and data.train.fields["input"].std() > 0.2


@pytest.mark.skipif(not assets.present("fashion_mnist"), reason="embodkd data get fashion_mnist")
def test_the_real_clothes_are_balanced():
    data = make_data("fashion_mnist", train=1000, validation=500, test=2000)
    assert data.test.fields["label"].bincount().tolist() == [200] * 10
    assert data.train.fields["label"].bincount().tolist() == [100] * 10
