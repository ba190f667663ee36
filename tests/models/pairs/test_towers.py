"""Towers: answers of length one, padding that nobody sees, gates that fuse, folders that say it again, CLIP's own."""

import pytest
import torch
from rows import LARGE, large_towers, pairs, small_towers

from embodkd.core import Gated, Role, evenly, fuse, inherit
from embodkd.core.sources.provenance import Provenance
from embodkd.models import MODELS, load_model, make_model, model_names, save_model

FACTS = pairs().facts()


def made(**options):
    torch.manual_seed(0)
    return make_model("towers", **FACTS, **{**LARGE, **options}).eval()


def batch(n=5):
    data = pairs()
    return data.train.gather(torch.arange(n).numpy(), 0)


def asked(model, rows=None):
    rows = batch() if rows is None else rows
    with torch.no_grad():
        return model({name: rows[name] for name in model.reads})


def shut(seed=0, model=None):
    """A gated model some of whose gates are shut, and the probe that it is tried on."""
    model, x = model or made(), {name: batch()[name] for name in ("image", "tokens", "mask")}
    gated = Gated(model, model.gate_places(), probe=lambda m: m(x)).eval()
    torch.manual_seed(seed)
    for gate in gated.gates.values():
        torch.nn.init.normal_(gate.logits, 0.5, 3.0)
    return gated, lambda m: m(x)


def test_every_model_of_pairs_is_tried():
    assert {n for n in model_names() if MODELS.get(n).judged_as == "towers"} == {"towers", "sentence_towers"}


def test_answers_are_of_length_one_and_the_score_is_their_scaled_cosine():
    model = made(scale=20.0)
    s = Role(model, "frozen").signals(batch())
    for side in (s.image_ND, s.text_ND):
        torch.testing.assert_close(side.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(s.scale_N, torch.full((5,), 20.0))
    torch.testing.assert_close(s.logits_N, 20.0 * (s.image * s.text).sum(1))


def test_the_scale_ends_at_a_hundred():
    model = made()
    with torch.no_grad():
        model.log_scale().fill_(9.0)
    assert asked(model)["scale"].max() == 100.0


def test_what_fills_a_text_up_is_not_read_and_its_last_token_is():
    model, rows = made(), batch()
    padding = torch.where(rows["mask"], rows["tokens"], 11)
    assert not torch.equal(padding, rows["tokens"])
    plain = asked(model)
    torch.testing.assert_close(asked(model, rows.merge(tokens=padding))["text"], plain["text"])
    last = rows["mask"].sum(1) - 1
    other = rows["tokens"].clone()
    other[torch.arange(5), last] = (other[torch.arange(5), last] + 1) % 12
    assert not torch.isclose(asked(model, rows.merge(tokens=other))["text"], plain["text"]).all(1).any()


def test_gradient_reaches_every_parameter_but_the_biases_that_attention_forgets():
    model = made()
    s = Role(model).signals(batch())
    (s.logits.square().sum() + (s.image @ s.text.T).square().sum()).backward()
    left = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not [name for name in left if "k_proj.bias" not in name]


@pytest.mark.parametrize("seed", range(3))
def test_fused_it_is_the_gated_network_and_a_folder_keeps_its_shapes(seed, tmp_path):
    gated, probe = shut(seed)
    small = fuse(gated, probe=probe, tolerance=1e-5)
    student = made()
    student.take_pruned(dict(small.named_parameters()))
    student.load_state_dict(small.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(student(batch())["image"], gated(batch())["image"], atol=1e-5, rtol=1e-5)
        loaded, config = load_model(save_model(tmp_path / "m", student))
        assert torch.equal(loaded(batch())["logits"], student(batch())["logits"])
    shapes = {name: tuple(p.shape) for name, p in student.named_parameters()}
    assert {n: tuple(s) for n, s in config["arguments"]["pruned"].items()} == {
        n: s for n, s in shapes.items() if s != tuple(dict(made().named_parameters())[n].shape)
    }


def test_all_but_the_scale_can_be_pruned_and_each_tower_has_its_own_share():
    gated, _ = shut()
    everything = sum(p.numel() for p in gated.model.parameters()) - 1
    assert gated.prunable() == everything == gated.prunable("image_") + gated.prunable("text_")
    apart = gated.expected("image_") + gated.expected("text_")
    torch.testing.assert_close(gated.expected(), apart)
    text = [g.logits for name, g in gated.gates.items() if name.startswith("text_")]
    assert torch.autograd.grad(gated.expected("image_"), text, allow_unused=True) == (None,) * len(text)


def test_a_state_of_shorter_parameters_is_taken_and_one_of_longer_ones_refused():
    gated, probe = shut()
    pruned = fuse(gated, probe=probe).state_dict()
    student = made()
    student.load_state_dict(pruned)
    assert all(torch.equal(value, pruned[name]) for name, value in student.state_dict().items())
    with pytest.raises(RuntimeError, match="size mismatch"):
        student.load_state_dict(made().state_dict())
    with pytest.raises(RuntimeError, match="size mismatch"):
        made().load_state_dict(make_model("towers", **FACTS, **{**LARGE, "joint": 9}).state_dict())


def test_a_narrower_one_inherits_whole_heads_and_leading_channels():
    teacher, student = large_towers(), small_towers()
    layers = {stack: evenly(2, 1) for stack in student.stacks}
    assert inherit(student, teacher, layers=layers) == []
    theirs = teacher.state_dict()
    for name, value in student.state_dict().items():
        source = theirs[name.replace("layers.1", "layers.0")]
        assert torch.equal(value, source[tuple(slice(0, n) for n in value.shape)]), name


def test_a_folder_answers_the_same_bits_and_carries_the_tokenizer(tmp_path):
    model = made()
    model.provenance = Provenance(spelling='{"a": 1}')
    loaded, config = load_model(save_model(tmp_path / "m", model))
    assert torch.equal(asked(loaded)["logits"], asked(model)["logits"])
    assert loaded.provenance.spelling == '{"a": 1}' and loaded.facts() == FACTS
    card = (tmp_path / "m/README.md").read_text()
    assert "images (N, 1, 8, 8)" in card and "texts (N, 6)" in card and "zero-shot-image-classification" in card
    assert config["vocabulary"] == 12


def test_a_pretrained_clip_answers_as_transformers_own(tmp_path):
    own = made()
    own.backbone.save_pretrained(tmp_path / "clip")
    model = make_model("towers", **FACTS, pretrained=str(tmp_path / "clip"), mean=0.0, std=1.0).eval()
    rows = batch()
    full = rows.merge(mask=torch.ones_like(rows["mask"]), tokens=rows["tokens"].clamp(max=10))
    full["tokens"][:, -1] = 11  # transformers reads a text at its largest token
    with torch.no_grad():
        theirs = model.backbone(input_ids=full["tokens"], pixel_values=full["image"])
    found = asked(model, full)
    torch.testing.assert_close(found["image"], theirs.image_embeds)
    torch.testing.assert_close(found["text"], theirs.text_embeds)
    loaded, config = load_model(save_model(tmp_path / "m", model))
    assert config["arguments"]["pretrained"] is None
    assert torch.equal(asked(loaded, full)["logits"], found["logits"])


@pytest.mark.parametrize(
    ("facts", "options", "complaint"),
    [
        ({}, {"head": 5}, "head=5 the widths 12 and 12"),
        ({}, {"patch": 3}, "patch=3 must divide"),
        ({"shape": (1, 8, 12)}, {}, "square image 8 x 12"),
        ({"shape": (64,)}, {}, "reads images"),
        ({}, {"pretrained": "/no/where"}, "pretrained=/no/where cannot be loaded"),
        ({}, {"image_widht": 3}, "did you mean 'image_width'"),
    ],
)
def test_mistakes_are_named(facts, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_model("towers", **{**FACTS, **facts}, **{**LARGE, **options})


def test_double_gives_nearly_the_same():
    model = made()
    whole = asked(model)["logits"]
    rows = batch()
    double = asked(model.double(), rows.merge(image=rows["image"].double()))["logits"].float()
    torch.testing.assert_close(double, whole, rtol=1e-4, atol=1e-4)
