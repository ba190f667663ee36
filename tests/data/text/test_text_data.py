"""Texts as data: tokenizers that give texts back, parts that do not meet, traces whose answers are right."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.data import make_data
from embodkd.data.text import Tokenizer, wordnet
from embodkd.data.text.sums import ALPHABET, right, trace

pytest.importorskip("tokenizers", reason="extra language is not installed")
WORDS = ("a", "the", "of", "small", "large", "thing", "plant", "made", "used", "with", "water", "red", "blue", "who")


@pytest.fixture(scope="module")
def some_words():
    """900 made-up definitions stand for WordNet's."""
    rng = np.random.default_rng(0)
    texts = tuple(" ".join(rng.choice(WORDS, rng.integers(1, 14))) for _ in range(900))
    files = np.sort(np.resize(np.arange(45), 900))
    with pytest.MonkeyPatch.context() as patch:
        from embodkd.data.text import gloss45, glosses

        for module in (glosses, gloss45):
            patch.setattr(module, "definitions", lambda: (texts, files))
        yield texts, files


@given(st.text(max_size=40))
def test_bytes_give_any_text_back(text):
    spelling = Tokenizer.bpe(["a small thing", "a small plant"], 300)
    assert spelling.decode(spelling.encode(text)) == text


def test_characters_are_one_token_each_behind_the_special_ones():
    spelling = Tokenizer.characters(ALPHABET)
    assert spelling.encode("0?") == [3, 3 + ALPHABET.index("?")] and len(spelling) == 3 + len(ALPHABET)
    assert spelling.decode([1, *spelling.encode("1+2=3"), 2, 0]) == "1+2=3"


def test_a_tokenizer_is_a_function_of_its_texts_and_its_json_is_all_of_it():
    code = (
        "from embodkd.data.text import Tokenizer; import hashlib;"
        "made = Tokenizer.bpe(['a small thing', 'the smaller ones'] * 3, 290);"
        "print(hashlib.sha256(made.to_json().encode()).hexdigest())"
    )
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(found) == 1 and len(found.pop()) == 65
    first = Tokenizer.bpe(["a small thing"] * 3, 290)
    again = Tokenizer(first.to_json())
    assert again.encode("a small thing") == first.encode("a small thing")


OPTIONS = {"train": 60, "validation": 20, "test": 30, "pool": 10}
DATA = {
    "glosses": {**OPTIONS, "prompt": 2, "response": 4, "vocabulary": 300},
    "sums": {**OPTIONS, "digits": 2},
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("ended", [False, True])
def test_parts_do_not_meet_and_a_seed_repeats_them(name, ended, some_words):
    more = {"ended": ended, "response": 30 if ended else 4} if name == "glosses" else {}
    first, again, other = (make_data(name, seed, **{**DATA[name], **more}) for seed in (0, 0, 1))
    assert {part: data.size() for part, data in first.parts().items()} == OPTIONS
    seen = torch.cat([ids for ids in first.items.rows.values()])
    assert len(seen.unique()) == len(seen) and first.items.pools == ("pool",)
    for part in first.parts():
        for field, value in first.part(part).fields.items():
            assert torch.equal(value, again.part(part).fields[field])
    assert not torch.equal(first.train.fields["tokens"], other.train.fields["tokens"])
    larger = make_data(name, 0, **{**DATA[name], **more, "train": 61})
    assert name == "glosses" or set(first.items.rows["test"].tolist()) == set(larger.items.rows["test"].tolist())


@pytest.mark.parametrize("ended", [False, True])
def test_a_gloss_is_a_definition_or_its_beginning(ended, some_words):
    data = make_data("glosses", **{**DATA["glosses"], "ended": ended, "response": 30 if ended else 4})
    texts, _ = some_words
    assert data.end == (2 if ended else None) and data.length == (32 if ended else 6)
    for part, source in data.parts().items():
        for item, row, mask in zip(
            data.items.rows[part].tolist(),
            source.fields["tokens"].tolist(),
            source.fields["mask"].tolist(),
            strict=True,
        ):
            text, count = data.spelling.decode(row), sum(mask)
            assert text == texts[item] if ended else texts[item].startswith(text)
            assert mask[:2] == [False] * 2 and mask[2 : 2 + count] == [True] * count
            assert (row[1 + count] == 2) == ended


def test_the_tokenizer_never_saw_what_judges(some_words, monkeypatch):
    from embodkd.data.text import glosses

    seen = []
    plain = Tokenizer.bpe.__func__

    def spied(cls, texts, vocabulary):
        seen.extend(texts)
        return plain(cls, seen, vocabulary)

    monkeypatch.setattr(glosses.Tokenizer, "bpe", classmethod(spied))
    data = make_data("glosses", **DATA["glosses"])
    texts, _ = some_words
    unseen = [texts[i] for part in ("validation", "test", "pool") for i in data.items.rows[part].tolist()]
    rows = np.random.default_rng((0, 0x6105)).permutation(len(texts))[:60]
    assert seen == [texts[i] for i in rows] and len(unseen) == 60
    judged = {i for part in ("validation", "test", "pool") for i in data.items.rows[part].tolist()}
    assert not judged & set(rows.tolist())


def test_gloss45_names_its_files_and_masks_what_fills_a_row(some_words):
    data = make_data("gloss45", train=300, validation=90, test=200, unlabelled=50, length=8, vocabulary=300)
    texts, files = some_words
    assert (
        data.facts() == {"shape": (8,), "classes": 45, "vocabulary": len(data.spelling)}
        and data.names[3] == "noun.Tops"
    )
    for part, source in data.parts().items():
        items = data.items.rows[part]
        assert torch.equal(source.fields["label"], torch.from_numpy(files)[items])
        rows, masks = source.fields["input"], source.fields["mask"]
        assert (rows[:, 0] == 1).all() and (rows[~masks] == 0).all() and masks[:, 0].all()
        last = masks.sum(1) - 1
        assert (rows[torch.arange(len(rows)), last] == 2).all()
        decoded = [data.spelling.decode(row) for row in rows.tolist()]
        assert all(texts[i].startswith(text) for i, text in zip(items.tolist(), decoded, strict=True))


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_trace_is_long_addition_and_ends_in_the_sum(a, b):
    columns, _, answer = trace(a, b).partition(":")
    assert int(answer) == a + b and right(f"{a}+{b}?", trace(a, b)) and right(f"{a}+{b}?", f":{a + b}")
    carried = 0
    digits = ""
    for column in columns.split(","):
        x, y, c, both = map(int, re.fullmatch(r"(\d)\+(\d)\+(\d)=(\d\d)", column).groups())
        assert c == carried and x + y + c == both
        carried, digits = both // 10, str(both % 10) + digits
    assert int(digits) + carried * 10 ** len(digits) == a + b


@pytest.mark.parametrize("answer", ["", ":", ":4", ":07", "7", ":7:", "x:7 ", ":7:8", ":-7", ":7.0"])
def test_what_is_no_right_answer_is_not_taken_for_one(answer):
    assert not right("3+4?", answer) and not right("3+4", ":7")


def test_every_trace_of_sums_is_right_and_fits():
    data = make_data("sums", **DATA["sums"])
    for source in data.parts().values():
        assert data.solved(source.fields["tokens"], source.fields["prompt"]).all()
    changed = data.test.fields["tokens"].clone()
    at = (changed == data.end).int().argmax(1) - 1
    rows = torch.arange(len(changed))
    changed[rows, at] = 3 + (changed[rows, at] - 2) % 10
    assert not data.solved(changed, data.test.fields["prompt"]).any()


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("sums", {"digits": 1, "train": 60}, "no more than half are drawn"),
        ("sums", {"digit": 1}, "did you mean 'digits'"),
        ("glosses", {"train": 5000}, "not so many definitions of 16 tokens"),
        ("glosses", {"vocabulary": 30}, "vocabulary: must be int from 300"),
        ("gloss45", {"train": 5000}, "smaller sum"),
        (
            "gloss45",
            {"train": 100, "validation": 50, "test": 50, "tokenizer": "/no/where"},
            "tokenizer=/no/where: no tok",
        ),
    ],
)
def test_mistakes_are_named(name, options, complaint, some_words):
    with pytest.raises(ValueError, match=complaint):
        make_data(name, **options)


NOUN = b"""  1 This software and database is provided
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived; "it was full of balls and other things"
00001930 04 n 01 act 0 007 @ 00001740 n 0000 | an entity that acts
"""


def test_definitions_are_read_from_the_installed_files_or_from_what_was_fetched(tmp_path, monkeypatch, embodkd):
    import hashlib

    monkeypatch.setenv("EMBODKD_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "wordnet"
    folder.mkdir()
    raw = b"".join(NOUN for _ in wordnet.PARTS)
    for part in wordnet.PARTS:
        (folder / f"data.{part}").write_bytes(NOUN)
    monkeypatch.setattr(wordnet, "INSTALLED", folder)
    monkeypatch.setattr(wordnet, "SHA256", hashlib.sha256(raw).hexdigest())
    expected = ("that which is perceived", "an entity that acts") * 4
    for fetched in (False, True):
        if fetched:
            assert embodkd("data", "get", "glosses").code == 0
            monkeypatch.setattr(wordnet, "INSTALLED", tmp_path / "nowhere")
        wordnet.definitions.cache_clear()
        texts, files = wordnet.definitions()
        assert texts == expected and files.tolist() == [3, 4] * 4
    wordnet.definitions.cache_clear()
    (folder / "data.noun").unlink()
    monkeypatch.setattr(wordnet, "INSTALLED", folder)
    monkeypatch.setenv("EMBODKD_CACHE", str(tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"lacks data\.noun"):
        wordnet.definitions()
    (folder / "data.noun").write_bytes(NOUN + b"\n")
    with pytest.raises(ValueError, match="not used"):
        wordnet.definitions()
