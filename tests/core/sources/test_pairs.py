"""Pairs: facts, and mistakes in the fields that are named with the part that has them."""

import dataclasses

import pytest
import torch

from embodkd.core import Pairs, TensorData

SHAPE, V, T = (3, 8, 8), 9, 4


def part(first, count, **changed):
    ids = torch.arange(first, first + count)
    fields = {
        "image": torch.rand(count, *SHAPE),
        "tokens": torch.randint(V, (count, T)),
        "mask": torch.arange(T) < torch.tensor([[2]]).expand(count, 1),
        "concept": ids // 2,
        "group": ids % 2,
        "sample_id": ids,
    }
    fields |= {name: change(fields[name]) for name, change in changed.items() if change is not None}
    return TensorData({name: value for name, value in fields.items() if changed.get(name, 1) is not None})


def pairs(**changed):
    prompts = {"tokens": torch.zeros(2, T, dtype=torch.int64), "mask": torch.ones(2, T, dtype=torch.bool)}
    facts = {"shape": SHAPE, "vocabulary": V, "prompts": prompts, "groups": ("a", "b")}
    return Pairs(**{"train": part(0, 6), "validation": part(6, 4), "test": part(10, 4), **facts, **changed})


def test_facts_are_what_a_model_is_built_for():
    data = pairs()
    assert data.facts() == {"shape": SHAPE, "vocabulary": V, "length": T} and data.kind == "pairs"
    assert data.counted is None and pairs(prompts=None, groups=()).facts() == data.facts()


def test_fewer_items_are_the_same_kind_of_data():
    data = pairs()
    few = data.with_parts(
        {name: TensorData({k: v[:2] for k, v in p.fields.items()}) for name, p in data.parts().items()}
    )
    assert few.facts() == data.facts() and few.groups == data.groups and few.test.size() == 2


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"image": None}, "test: lacks the field image"),
        ({"group": None}, "test: lacks the field group"),
        ({"image": lambda v: v[:, :1]}, r"images are \(1, 8, 8\)"),
        ({"image": lambda v: v.byte()}, "torch.uint8"),
        ({"tokens": lambda v: v + V}, "test: tokens"),
        ({"tokens": lambda v: v[:, :3], "mask": lambda v: v[:, :3]}, "rows of 3 tokens, those of train have 4"),
        ({"mask": lambda v: v.int()}, "mask is torch.int32"),
        ({"mask": lambda v: v & False}, "true from its first token on"),
        ({"mask": lambda v: v.flip(1)}, "true from its first token on"),
        ({"group": lambda v: v + 1}, "group is .* below 2"),
        ({"concept": lambda v: v - 9}, "concept is .* at least 0"),
        ({"concept": lambda v: v * 0}, "more than one of train, validation and test"),
        ({"sample_id": lambda v: v - 10}, "occur more than once"),
    ],
)
def test_mistakes_are_named_with_their_part(changed, complaint):
    with pytest.raises(ValueError, match=complaint):
        pairs(test=part(10, 4, **changed))


def test_every_group_has_a_prompt():
    with pytest.raises(ValueError, match="a row of that length for each group"):
        pairs(groups=("a", "b", "c"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        pairs().groups = ()
