"""What a model says of its classes and of the items that made and judged it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from embodkd.core import Splits, TensorData
from embodkd.core.sources.provenance import Provenance
from embodkd.core.sources.splits import Items


def data(
    train: list[int], validation: list[int], test: list[int], pool: Sequence[int] = (), source: str = "here"
) -> Splits:
    """Splits whose rows are these things; -1 is one that was made up."""
    rows = {"train": train, "validation": validation, "test": test} | ({"pool": pool} if pool else {})
    first, parts = 0, {}
    for name, items in rows.items():
        ids = torch.arange(first, first := first + len(items))
        parts[name] = TensorData({"input": torch.zeros(len(ids), 2), "label": ids % 2, "sample_id": ids})
    extra = {name: part for name, part in parts.items() if name == "pool"}
    numbers = {name: torch.tensor(items) for name, items in rows.items()}
    return Splits(
        parts["train"],
        parts["validation"],
        parts["test"],
        classes=2,
        shape=(2,),
        extra=extra,
        names=("a", "b"),
        items=Items(source, numbers, tuple(extra)),
    )


def model(provenance: Provenance | None) -> nn.Module:
    made = nn.Identity()
    made.provenance = provenance
    return made


things = st.lists(st.integers(-1, 12), min_size=1, max_size=8)


@given(things, things, things, things, things, things)
def test_what_was_seen_is_counted_as_sets_count_it(train, validation, test, own, chosen, judged) -> None:
    teacher = Provenance.of(data(train, validation, test))
    student = Provenance.of(data(own, chosen, judged), [model(teacher)])
    asked = data(own, chosen, judged)
    whose = {"train": own, "validation": chosen, "teacher_train": train, "teacher_validation": validation}
    expected = {use: sum(x in set(items) for x in judged if x >= 0) for use, items in whose.items()}
    assert student.seen(asked, "test") == expected


def test_a_teacher_s_teacher_has_seen_the_test_too_and_a_pool_counts_as_training() -> None:
    first = Provenance.of(data([1, 2], [3], [4], pool=[5, -1]))
    second = Provenance.of(data([6], [7], [8]), [model(first)])
    third = Provenance.of(data([9], [10], [1, 3, 5, 6, 11]), [model(second)])
    said = third.beware(data([9], [10], [1, 3, 5, 6, 11]))
    assert said == ("of these 5 items its teachers saw 3 in train, 1 in validation",)


def test_a_model_judged_on_what_it_was_trained_on_says_so() -> None:
    own = data([1, 2, 3], [4], [5])
    assert Provenance.of(own).beware(own) == ()
    assert Provenance.of(own).beware(own, "train") == ("of these 3 items it saw 3 in train",)


def test_the_same_numbers_of_another_source_are_other_things() -> None:
    here, there = data([1], [2], [3]), data([3], [4], [1], source="there")
    assert Provenance.of(here, [model(Provenance.of(there))]).beware(here) == ()


def test_who_does_not_say_is_said() -> None:
    here = data([1], [2], [3])
    for teacher in (model(None), nn.Identity(), model(Provenance(silent=True))):
        (said,) = Provenance.of(here, [teacher]).beware(here)
        assert "not known" in said
    nameless = Splits(here.train, here.validation, here.test, classes=2, shape=(2,))
    assert Provenance.of(nameless, [nn.Identity()]).beware(nameless) == ()
