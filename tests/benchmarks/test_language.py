"""The loop by hand makes the Trainer's updates, and so do logits in chunks."""

import pytest
import torch

from benchmarks import language

pytest.importorskip("transformers", reason="extra language is not installed")
WORK = language.Work(updates=2, batch=2, length=8, width=16, depth=1, vocabulary=11, chunk=5, repeats=2)


def test_all_three_end_with_the_same_weights(monkeypatch):
    data, build, made = language.texts(WORK), language.network, []

    def watched(work):
        made.append(build(work))
        return made[-1]

    monkeypatch.setattr(language, "network", watched)
    language.trained(WORK, data, False)
    language.trained(WORK, data, True)
    language.hand_written(WORK, data)
    whole, chunked, by_hand = (m.state_dict() for m in made)
    start = build(WORK).state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(value, by_hand[name], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(value, chunked[name], rtol=1e-3, atol=1e-4)
    assert any(not torch.equal(value, start[name]) for name, value in whole.items())


def test_two_lines():
    assert [line.target for line in language.lines(WORK)] == [1.03, None]
