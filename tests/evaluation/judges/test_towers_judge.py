"""Retrieval: ranks by counting one by one, concepts with several images, ties that help nobody, groups by prompts."""

from __future__ import annotations

import pytest
import torch
from rows import pairs

from embodkd.core import Pairs, TensorData
from embodkd.evaluation.judges import JUDGES, better, judge_of, towers
from embodkd.models import make_model
from embodkd.models.pairs.base import TwoTowers


class Told(TwoTowers):
    """Answers with what stands in the batch: images of one row hold their own answer, tokens are rows of a table."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__((1, 1, table.shape[1]), len(table), 1)
        self.table, self.log = table, torch.nn.Parameter(torch.zeros(()))

    def log_scale(self):
        return self.log

    def image_of(self, x):
        return x["image"][:, 0, 0]

    def text_of(self, x):
        return self.table[x["tokens"][:, 0]]


def several(count=9, images=23, width=4, seed=0):
    """(model, data): `images` images of `count` concepts, random answers."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(count + 3, width, generator=generator)
    concept = torch.cat([torch.arange(count), torch.randint(count, (images - count,), generator=generator)])
    concept = concept[torch.randperm(images, generator=generator)]
    fields = {
        "image": table[concept][:, None, None] + 1.5 * torch.randn(images, 1, 1, width, generator=generator),
        "tokens": concept[:, None],
        "mask": torch.ones(images, 1, dtype=torch.bool),
        "concept": concept,
        "group": concept % 3,
        "sample_id": torch.arange(images),
    }
    moved = [
        {k: v[:1] + 100 * (n + 1) if k in ("concept", "sample_id") else v[:1] for k, v in fields.items()}
        for n in (0, 1)
    ]
    alone = [TensorData(row) for row in moved]
    prompts = {"tokens": torch.arange(count, count + 3)[:, None], "mask": torch.ones(3, 1, dtype=torch.bool)}
    data = Pairs(*alone, TensorData(fields), (1, 1, width), count + 3, prompts=prompts, groups=("a", "b", "c"))
    return Told(table), data


@pytest.mark.parametrize("seed", range(3))
def test_every_measure_is_the_one_counted_by_hand(seed):
    model, data = several(seed=seed)
    f = data.test.fields
    unit = torch.nn.functional.normalize
    images = unit(f["image"][:, 0, 0], dim=1).double().tolist()
    texts = unit(model.table, dim=1).double().tolist()

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    concepts = sorted(set(f["concept"].tolist()))
    own = f["concept"].tolist()
    first = [
        sum(dot(i, texts[c]) >= dot(i, texts[k]) for c in concepts if c != k) for i, k in zip(images, own, strict=True)
    ]
    second = []
    for k in concepts:
        best = max(dot(i, texts[k]) for i, c in zip(images, own, strict=True) if c == k)
        second.append(sum(dot(i, texts[k]) >= best for i, c in zip(images, own, strict=True) if c != k))
    found = JUDGES["towers"].measured(model, data)
    for k in (1, 5, 10):
        a, b = (100.0 * sum(r < k for r in ranks) / len(ranks) for ranks in (first, second))
        assert found[f"image_to_text_r{k}"] == pytest.approx(a) and found[f"text_to_image_r{k}"] == pytest.approx(b)
        assert found[f"r{k}"] == pytest.approx((a + b) / 2)
    prompts = texts[len(concepts) :]
    right = [max(range(3), key=lambda g: dot(i, prompts[g])) == c % 3 for i, c in zip(images, own, strict=True)]
    assert found["zero_shot"] == pytest.approx(100.0 * sum(right) / len(right))
    assert {"r1@validation", "zero_shot@validation"} <= found.keys() and "r1@train" not in found


def test_answers_that_are_all_alike_find_nothing():
    model, data = several()
    model.table = torch.ones_like(model.table)
    found = JUDGES["towers"].measured(model, data)
    assert found["image_to_text_r1"] == found["zero_shot"] == 0 and found["image_to_text_r5"] == 0


def test_perfect_answers_find_everything():
    model, data = several()
    fields = {**data.test.fields, "image": model.table[data.test.fields["concept"]][:, None, None]}
    found = JUDGES["towers"].measured(model, data.with_parts({**data.parts(), "test": TensorData(fields)}))
    assert found["r1"] == found["r5"] == found["r10"] == 100.0


def test_scale_and_order_of_the_items_change_nothing():
    model, data = several()
    once = JUDGES["towers"].measured(model, data)
    order = torch.randperm(data.test.size(), generator=torch.Generator().manual_seed(1))
    shuffled = TensorData({k: v[order] for k, v in data.test.fields.items()})
    model.table = 7.0 * model.table
    assert JUDGES["towers"].measured(model, data.with_parts({**data.parts(), "test": shuffled})) == once


def test_an_evaluation_has_one_outcome_per_image():
    model, data = several()
    result = JUDGES["towers"].evaluated(model, data, {"name": "told"})
    assert result.protocol["unit"] == "items" and result.episodes == data.test.size()
    share = 100.0 * result.successes / data.test.size()
    assert share == pytest.approx(result.manifest["measures"]["image_to_text_r1"])


def test_towers_are_judged_as_such_and_more_is_better():
    model = make_model("towers", **pairs().facts(), patch=4, head=4, image_width=8, text_width=8, joint=4)
    assert judge_of(model, pairs()) is JUDGES["towers"] and {better(name) for name in towers.MEASURES} == {"higher"}
    assert judge_of(torch.nn.Linear(1, 1), pairs()) is JUDGES["towers"]


def test_without_prompts_there_is_no_zero_shot():
    model, data = several()
    bare = Pairs(data.train, data.validation, data.test, data.shape, data.vocabulary)
    assert "zero_shot" not in JUDGES["towers"].measured(model, bare)
