"""Data sets of speech: what a batch holds, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from spoken import speech, utterances

from embodkd.core import TensorData, Utterances


def changed(**sequences: Any) -> dict[str, Any]:
    part = utterances(3)
    return {**part.sequences, **sequences}


def test_facts_are_what_a_model_is_built_for() -> None:
    assert speech().facts() == {"phonemes": 5, "mels": 4, "rate": 4000, "hop": 32}


def test_a_batch_holds_each_sentence_and_says_where_it_is() -> None:
    part = utterances(6, pad_to="batch")
    batch = part.gather(np.array([4, 1]), 0)
    for n, row in enumerate((4, 1)):
        for name, mask in (
            ("phoneme", "phoneme_mask"),
            ("duration", "phoneme_mask"),
            ("mel", "frame_mask"),
            ("pitch", "frame_mask"),
        ):
            np.testing.assert_array_equal(batch[name][n][batch[mask][n]], part.sequences[name][row])
        assert batch["duration"][n].sum() == batch["frame_mask"][n].sum() == batch["frames"][n]
    assert batch["sample_id"].tolist() == [4, 1]


def test_some_rows_are_the_same_sentences() -> None:
    part = utterances(6)
    some = part.rows(np.array([5, 2]))
    assert some.size() == 2 and some.fields["sample_id"].tolist() == [5, 2]
    assert torch.equal(some.gather(np.array([0]), 0)["mel"][0, :1], part.gather(np.array([5]), 0)["mel"][0, :1])


def test_other_contents_are_another_part() -> None:
    part = utterances(3)
    louder = part.but(changed(mel=[part.sequences["mel"][k] + 1 for k in range(3)]))
    assert not torch.equal(louder.fields["content"], part.fields["content"])


def test_sentences_of_like_length_come_together_and_all_of_them() -> None:
    part = Utterances(utterances(64).sequences, bucket=4)
    batches = list(part.order(8, 1, 2))
    assert sorted(np.concatenate(batches).tolist()) == list(range(64))
    length_N = part.fields["phonemes"].numpy()
    assert np.mean([np.ptp(length_N[b]) for b in batches]) < np.ptp(length_N)


@pytest.mark.parametrize(
    ("sequences", "said"),
    [
        (lambda s: {**s, "duration": [s["duration"][k] + 1 for k in range(3)]}, "sum is not that of"),
        (lambda s: {**s, "pitch": [s["pitch"][k][1:] for k in range(3)]}, "pitch: other lengths"),
        (lambda s: {**s, "pitch": [s["pitch"][k] * (k != 1) for k in range(3)]}, "sentence 1 has no voiced frame"),
        (lambda s: {n: v for n, v in s.items() if n not in ("mel", "energy")}, "lack mel and energy"),
    ],
)
def test_what_does_not_fit_together_is_said(sequences: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Utterances(sequences(dict(utterances(3).sequences)))


def test_phonemes_and_bands_that_are_not_there_are_said() -> None:
    with pytest.raises(ValueError, match=r"phoneme 4 is none of 0\.\.2"):
        dataclasses.replace(speech(), symbols=("a", "b", "c"))
    with pytest.raises(ValueError, match=r"expected \(7,\)"):
        dataclasses.replace(speech(), mels=7)
    with pytest.raises(ValueError, match="got TensorData"):
        dataclasses.replace(speech(), test=TensorData({"input": torch.zeros(2)}))
    with pytest.raises(ValueError, match="occur more than once"):
        speech(test=utterances(3, 100))
