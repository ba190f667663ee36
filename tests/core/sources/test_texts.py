"""Kinds of data: what texts must be, what they say to models, and whose tokens they share."""

import pytest
import torch

from embodkd.core import Splits, TensorData, Texts, by_position, cross_entropy, kl, one_teacher
from embodkd.core.method import NEEDS
from embodkd.core.sources.kinds import FACTS, KINDS
from embodkd.core.sources.provenance import Provenance


class Letters:
    """Token k is the k-th letter, but for the first three."""

    def __init__(self, name="letters"):
        self.name = name

    def encode(self, text):
        return [ord(c) - ord("a") + 3 for c in text]

    def decode(self, tokens):
        return "".join(chr(ord("a") + t - 3) for t in tokens if t >= 3)

    def to_json(self):
        return f'{{"name": "{self.name}"}}'


def part(rows, prompt=1, first=0):
    tokens = torch.tensor(rows)
    mask = (tokens != 0) & (torch.arange(tokens.shape[1]) >= prompt)
    n = len(rows)
    return {"tokens": tokens, "mask": mask, "prompt": torch.full((n,), prompt), "sample_id": first + torch.arange(n)}


def texts(train=None, **more):
    train = part([[3, 4, 2, 0], [4, 3, 3, 2]]) if train is None else train
    others = (part([[3, 4, 2, 0]], first=10), part([[5, 5, 2, 0]], first=20))
    return Texts(TensorData(train), *map(TensorData, others), **{"vocabulary": 6, "start": 1, "end": 2, **more})


def test_texts_say_what_models_need_in_words_that_no_option_has():
    assert texts().facts() == {"vocabulary": 6, "length": 4, "start": 1, "end": 2}
    assert set(texts().facts()) <= set(FACTS) and Texts.kind in KINDS and set(KINDS) < set(NEEDS)


def test_right_answers_end_at_the_end_and_begin_behind_the_prompt():
    doubled = texts(spelling=Letters(), check=lambda prompt, answer: answer == 2 * prompt)
    rows = torch.tensor([[3, 3, 3, 2], [3, 3, 3, 3], [4, 4, 4, 2], [4, 4, 2, 4]])
    assert doubled.solved(rows, torch.ones(4, dtype=torch.int64)).tolist() == [True, False, True, False]
    # what stands behind the end is not read
    assert doubled.solved(torch.tensor([[3, 3, 3, 2, 5, 5]]), torch.tensor([1])).tolist() == [True]
    with pytest.raises(ValueError, match="nothing that tells right answers"):
        texts().solved(rows, torch.ones(4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"tokens": torch.tensor([[6, 1, 1, 1], [1, 1, 1, 1]])}, r"train: tokens are .* in 1\.\.6, expected .* 0\.\.5"),
        ({"tokens": torch.ones(2, 4)}, "train: tokens are torch.float32"),
        ({"mask": torch.ones(2, 4)}, "train: mask is torch.float32"),
        ({"mask": torch.zeros(2, 4, dtype=torch.bool)}, "row 0 has no token to be learned"),
        ({"mask": torch.ones(2, 4, dtype=torch.bool)}, "the mask holds tokens of it"),
        ({"prompt": torch.tensor([1.0, 1.0])}, "prompt is torch.float32"),
        ({"prompt": torch.tensor([1, 5])}, "longer than its row"),
        ({"sample_id": torch.tensor([10, 11])}, "more than once"),
    ],
)
def test_texts_refuse_what_would_spoil_a_measurement(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        texts({**part([[3, 4, 2, 0], [4, 3, 3, 2]]), **wrong})


def test_special_tokens_are_tokens_and_a_checker_needs_text():
    with pytest.raises(ValueError, match="start: token 6 is none"):
        texts(start=6)
    with pytest.raises(ValueError, match="check: .* give spelling"):
        texts(check=lambda prompt, answer: True)
    with pytest.raises(ValueError, match="lacks the field mask"):
        texts({k: v for k, v in part([[3, 4, 2, 0]]).items() if k != "mask"})


def rows_of(ids, vocabulary=4):
    n = len(ids)
    tokens = torch.arange(n * 3).view(n, 3) % vocabulary
    mask = torch.ones(n, 3, dtype=torch.bool)
    return TensorData({"input": tokens, "mask": mask, "label": torch.arange(n) % 2, "sample_id": torch.tensor(ids)})


def test_texts_with_classes_are_splits_that_say_their_vocabulary():
    parts = {"train": rows_of([0, 1]), "validation": rows_of([2]), "test": rows_of([3])}
    data = Splits(**parts, classes=2, shape=(3,), vocabulary=4)
    assert data.facts() == {"shape": (3,), "classes": 2, "vocabulary": 4}
    with pytest.raises(ValueError, match="torch.int64, expected .* torch.float32"):
        Splits(**parts, classes=2, shape=(3,))
    with pytest.raises(ValueError, match=r"tokens are .* 0\.\.2"):
        Splits(**parts, classes=2, shape=(3,), vocabulary=3)
    bare = TensorData({k: v for k, v in parts["train"].fields.items() if k != "mask"})
    with pytest.raises(ValueError, match="train: mask is missing"):
        Splits(**{**parts, "train": bare}, classes=2, shape=(3,), vocabulary=4)


def test_other_items_keep_the_facts_and_are_nobody_in_particular():
    data = texts()
    fewer = data.with_parts({n: TensorData({k: v[:1] for k, v in p.fields.items()}) for n, p in data.parts().items()})
    assert fewer.facts() == data.facts() and fewer.train.size() == 1 and fewer.items is None


class Model(torch.nn.Module):
    def __init__(self, vocabulary, spelling):
        super().__init__()
        self.vocabulary, self.provenance = vocabulary, Provenance(spelling=spelling)


def test_a_teacher_of_other_tokens_is_refused():
    data = texts(spelling=Letters())
    assert Provenance.of(data).spelling == Letters().to_json()
    good = Model(6, Letters().to_json())
    assert one_teacher(good, "m", data) is good
    with pytest.raises(ValueError, match="knows 7 tokens, the data have 6 tokens"):
        one_teacher(Model(7, None), "m", data)
    with pytest.raises(ValueError, match="another tokenizer"):
        one_teacher(Model(6, Letters("other").to_json()), "m", data)


def test_a_term_by_position_is_the_term_of_each_position_alone():
    torch.manual_seed(0)
    s, t, y = torch.randn(2, 3, 5), torch.randn(2, 3, 5), torch.randint(5, (2, 3))
    nll, divergence = by_position(cross_entropy, s, y), by_position(kl, s, t, reverse=True)
    for n in range(2):
        for k in range(3):
            torch.testing.assert_close(nll[n, k], -s[n, k].log_softmax(0)[y[n, k]])
            torch.testing.assert_close(divergence[n, k : k + 1], kl(s[n, k : k + 1], t[n, k : k + 1], reverse=True))
