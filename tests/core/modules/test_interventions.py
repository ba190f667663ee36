"""Interventions of a teacher in a student's attention, by taps alone, on a BERT of transformers with random weights.

The three of Teacher Intervention (arXiv 2302.11812): the teacher's attention output, context or probabilities take the
student's place in every layer, and the layer's input is cut off where queries and keys (and values) read it.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embodkd.core import Role, Signals, Tap

transformers = pytest.importorskip("transformers")
LAYERS, D, H = 2, 12, 3


class Encoder(nn.Module):
    def __init__(self, seed, implementation):
        super().__init__()
        torch.manual_seed(seed)
        config = transformers.BertConfig(
            hidden_size=D, num_hidden_layers=LAYERS, num_attention_heads=H, intermediate_size=16, vocab_size=20
        )
        config._attn_implementation = implementation
        self.bert, self.head = transformers.BertModel(config), nn.Linear(D, 4)
        for p in self.parameters():
            nn.init.normal_(p, std=0.3)

    def forward(self, ids):
        return self.head(self.bert(ids).pooler_output)


def place(layer, part):
    return f"bert.encoder.layer.{layer}.{part}"


def reads():
    found = {"h0": "bert.embeddings"}
    for i in range(LAYERS):
        found |= {f"{s}_{i}": Tap(place(i, "attention.self"), attention=s) for s in ("scores", "probs", "context")}
        found |= {f"o_{i}": place(i, "attention.output.dense"), f"y_{i}": place(i, "attention.output")}
        found |= {f"h{i + 1}": place(i, "")[:-1]}
    return found


def interventions(kind):
    """Taps that replace, before those that read."""
    found = {}
    for i in range(LAYERS):

        def put(tensor, batch, i=i):
            return batch[f"t.{kind}_{i}"]

        cut = () if kind is None else ("query", "key") if kind == "probs" else ("query", "key", "value")
        found |= {
            f"cut_{part}_{i}": Tap(place(i, f"attention.self.{part}"), input=True, replace=Tensor.detach)
            for part in cut
        }
        if kind == "o":
            found[f"put_{i}"] = Tap(place(i, "attention.output.dense"), replace_from=put)
        elif kind is not None:
            found[f"put_{i}"] = Tap(place(i, "attention.self"), attention=kind, replace_from=put)
    return found


def ids():
    return torch.randint(0, 20, (3, 6), generator=torch.Generator().manual_seed(0))


def answers(student, teacher):
    return Signals({"input": ids()}).merge(
        **{f"t.{n}": v for n, v in Role(teacher, "frozen", taps=reads()).signals(Signals({"input": ids()})).items()}
    )


def passed(student, batch, kind):
    return Role(student, mode="eval", taps={**interventions(kind), **reads()}).signals(batch)


def losses(s, batch):
    own = sum(F.mse_loss(s[f"scores_{i}"], batch[f"t.scores_{i}"]) for i in range(LAYERS))
    hidden = sum(F.mse_loss(s[f"h{i}"], batch[f"t.h{i}"]) for i in range(LAYERS + 1))
    out = sum(F.mse_loss(s[f"y_{i}"], batch[f"t.y_{i}"]) for i in range(LAYERS))
    pred = -(batch["t.logits"].softmax(-1) * s["logits"].log_softmax(-1)).sum(-1).mean()
    return {"scores": own, "hidden": hidden, "out": out, "pred": pred}


@pytest.fixture(params=["eager", "sdpa"])
def pair(request):
    return Encoder(0, request.param), Encoder(1, request.param)


def slope(student, *name):
    return [student.get_parameter(place(i, f"{n}.weight")).grad for i in range(LAYERS) for n in name]


def none(slopes):
    return all(g is None or not g.any() for g in slopes)


@pytest.mark.parametrize("kind", ["o", "context", "probs"])
def test_with_the_teachers_weights_every_intervention_leaves_every_signal(pair, kind):
    _, teacher = pair
    batch = answers(teacher, teacher)
    s = passed(teacher, batch, kind)
    for name in (*reads(), "logits"):
        torch.testing.assert_close(s[name], batch[f"t.{name}"], atol=1e-6, rtol=1e-5)
    found = losses(s, batch)
    for name in ("scores", "hidden", "out"):
        assert found[name] < 1e-12
    entropy = -(batch["t.logits"].softmax(-1) * batch["t.logits"].log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(found["pred"], entropy)


SILENT = {
    "o": ["attention.self.value", "attention.output.dense"],
    "context": ["attention.self.value"],
    "probs": [],
}


@pytest.mark.parametrize("kind", SILENT)
def test_what_is_put_in_makes_the_weights_before_it_silent(pair, kind):
    student, teacher = pair
    batch = answers(student, teacher)
    before = passed(student, batch, kind)
    sum(losses(before, batch).values()).backward()
    assert none(slope(student, *SILENT[kind])) or not SILENT[kind]
    trains = {
        "o": [],
        "context": ["attention.output.dense"],
        "probs": ["attention.self.value", "attention.output.dense"],
    }
    assert all(
        g.any() for g in slope(student, *trains[kind], "attention.self.query", "attention.self.key", "output.dense")
    )
    with torch.no_grad():
        for i in range(LAYERS):
            for name in SILENT[kind]:
                student.get_parameter(place(i, f"{name}.weight")).add_(1.0)
    after = passed(student, batch, kind)
    for name in ["logits", *(n for n in reads() if n[0] in "shy")]:
        assert torch.equal(after[name], before[name]), name


@pytest.mark.parametrize("kind", SILENT)
def test_queries_and_keys_learn_from_their_own_layers_scores_only(pair, kind):
    student, teacher = pair
    batch = answers(student, teacher)
    found = losses(passed(student, batch, kind), batch)
    (found["hidden"] + found["out"] + found["pred"]).backward()
    assert none(slope(student, "attention.self.query", "attention.self.key"))
    student.zero_grad()
    # the last layer's scores say nothing to the first one's queries, nor to anything else below
    s = passed(student, batch, kind)
    F.mse_loss(s["scores_1"], batch["t.scores_1"]).backward()
    touched = {n for n, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert (
        touched <= {place(1, f"attention.self.{n}.{w}") for n in ("query", "key") for w in ("weight", "bias")}
        and touched
    )


def test_without_an_intervention_everything_learns(pair):
    student, teacher = pair
    batch = answers(student, teacher)
    found = losses(passed(student, batch, None), batch)
    (found["hidden"] + found["out"] + found["pred"]).backward()
    assert all(g.any() for g in slope(student, *(f"attention.self.{n}" for n in ("query", "key", "value"))))


def test_the_stage_of_the_update_may_choose_the_intervention(pair):
    student, teacher = pair
    batch = answers(student, teacher)

    def put(tensor, batch):
        return torch.where(batch["stage"][:, None, None, None] > 0, batch["t.probs_0"], tensor)

    role = Role(student, mode="eval", taps={"p": Tap(place(0, "attention.self"), attention="probs", replace_from=put)})
    off, on = (role.signals(batch.merge(stage=torch.full((3,), k)))["logits"] for k in (0, 1))
    torch.testing.assert_close(off, Role(student, mode="eval").signals(batch)["logits"])
    assert not torch.allclose(on, off)
