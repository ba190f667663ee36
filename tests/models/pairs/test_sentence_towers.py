"""Towers beside frozen sentences: what they read, what learns, and what a folder keeps."""

import pytest
import torch
from rows import pairs, slow_budget

from embodkd.core import Role, TensorData, Trainer
from embodkd.evaluation.judges import judge_of
from embodkd.methods import get_method
from embodkd.models import load_model, make_model, save_model
from embodkd.parts.networks.inheritance import Inherit

SIZE = {"patch": 4, "head": 4, "image_width": 8, "image_depth": 2, "joint": 6, "sentence": 5}


def data():
    generator = torch.Generator().manual_seed(3)
    plain = pairs()
    parts = {
        name: TensorData({**part.fields, "sentence": torch.randn(part.size(), 5, generator=generator)})
        for name, part in plain.parts().items()
    }
    prompts = {**plain.prompts, "sentence": torch.randn(3, 5, generator=generator)}
    kept = plain.with_parts(parts)
    return type(kept)(**{**vars(kept), "prompts": prompts})


def made(**options):
    torch.manual_seed(0)
    return make_model("sentence_towers", **pairs().facts(), **{**SIZE, **options})


def test_it_learns_from_sentences_inherits_and_is_judged_and_kept(tmp_path):
    own, teacher, student = data(), made(), made(image_depth=1)
    Trainer(seed=0, quiet=True).fit(get_method("supervised")().recipe(teacher, None, own, budget=slow_budget()))
    Inherit(student, teacher)(None)
    Trainer(seed=0, quiet=True).fit(get_method("tinyclip")().recipe(student, teacher, own, budget=slow_budget()))
    found = judge_of(student, own).measured(student, own)
    assert {"r1", "zero_shot"} <= found.keys()
    loaded, _ = load_model(save_model(tmp_path / "m", student))
    assert judge_of(loaded, own).measured(loaded, own) == found


def test_the_text_is_the_map_of_the_sentence_alone():
    model, batch = made(), data().train.gather(torch.arange(4).numpy(), 0)
    s = Role(model, "frozen").signals(batch)
    torch.testing.assert_close(s.text, torch.nn.functional.normalize(model.text_map(batch["sentence"]), dim=1))
    other = Role(model, "frozen").signals(batch.merge(tokens=batch["tokens"] * 0))
    assert torch.equal(other.text, s.text)


def test_gates_have_no_place_in_it_and_sizes_are_checked():
    with pytest.raises(ValueError, match="does not say where gates may stand"):
        get_method("tinyclip")(mode="automatic").recipe(made(), made(), data(), budget=slow_budget())
    with pytest.raises(ValueError, match="head=3 the width 8"):
        made(head=3)
