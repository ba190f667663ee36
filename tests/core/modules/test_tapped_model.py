"""Taps that are part of a model, and all of word seven at once: a ternary BERT with a teacher's attention put in."""

import pytest
import torch
from torch import nn

from embodkd.core import Role, Signals, Tap, Tapped, eight_bit, quantise, set_quantised, tapped, ternary_rows

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def probe(model):
    return model(X)


def test_it_is_the_model_with_its_taps_open_and_has_its_names():
    taps = {"h": Tap("1", replace=torch.round)}
    model, plain = Tapped(network(), taps), network()
    with tapped(plain, taps):
        wanted = plain(X)
    assert torch.equal(model(X), wanted) and not torch.equal(plain(X), wanted)
    model.model.load_state_dict(plain.state_dict())
    assert [n.removeprefix("model.") for n in model.state_dict()] == list(plain.state_dict())


def test_taps_that_should_change_nothing_are_held_to_it():
    Tapped(network(), {"h": Tap("1", replace=lambda t: t)}, probe=probe)
    with pytest.raises(AssertionError, match="taps that change nothing: the answer moved by"):
        Tapped(network(), {"h": Tap("1", replace=torch.round)}, probe=probe)
    for tap in (Tap("1"), Tap("1", replace_from=lambda t, b: t)):
        with pytest.raises(ValueError, match="needs replace, which reads the tensor alone"):
            Tapped(network(), {"h": tap})
    with pytest.raises(ValueError, match="no submodule 'one'"):
        Tapped(network(), {"h": Tap("one", replace=torch.round)})


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_a_ternary_bert_with_a_teachers_probabilities_put_in_and_then_quantised(implementation):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=16, vocab_size=20
    )
    config._attn_implementation = implementation
    ids = torch.randint(0, 20, (3, 6), generator=torch.Generator().manual_seed(0))

    class Pooled(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.bert = transformers.BertModel(config)
            for p in self.parameters():
                nn.init.normal_(p, std=0.5)

        def forward(self, ids):
            return self.bert(ids).pooler_output

    def answer(model):
        return model(ids)

    student, teacher, plain = (Pooled(seed).eval() for seed in (0, 1, 0))
    linear = ["attention.output.dense", "intermediate.dense", "layer.*[0-9].output.dense", "pooler"]
    quantise(student, linear, input=eight_bit, probe=answer)
    quantise(student, ["self.(query|key|value)"], input=eight_bit, output=eight_bit, probe=answer)
    quantise(student, "word_embeddings", weight=ternary_rows, probe=answer)
    assert student.state_dict().keys() == plain.state_dict().keys()
    at = "bert.encoder.layer.{}.attention.self"
    whole = Tapped(student, {f"w{i}": Tap(at.format(i), attention="weights", replace=eight_bit) for i in range(2)})

    reads = {f"probs_{i}": Tap(at.format(i), attention="probs") for i in range(2)}
    given = Role(teacher, "frozen", taps=reads).signals(Signals({"input": ids}))
    batch = Signals({"input": ids, **{f"t.{n}": given[n] for n in reads}})
    put = {
        f"put_{i}": Tap(f"model.{at.format(i)}", attention="probs", replace_from=lambda t, b, i=i: b[f"t.probs_{i}"])
        for i in range(2)
    }
    read = {f"w_{i}": Tap(f"model.{at.format(i)}", attention="weights") for i in range(2)}
    s = Role(whole, mode="eval", taps={**put, **read}).signals(batch)
    for i in range(2):
        assert torch.equal(s[f"put_{i}"], given[f"probs_{i}"])
        torch.testing.assert_close(s[f"w_{i}"], eight_bit(given[f"probs_{i}"]))
    s["logits"].sum().backward()
    assert student.bert.encoder.layer[0].attention.self.value.weight.grad.any()
    assert student.bert.encoder.layer[0].attention.self.query.weight.grad is None
    set_quantised(student, False)
    assert torch.equal(student(ids), plain(ids))
