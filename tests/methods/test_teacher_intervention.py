"""Teacher intervention: its identities, on a tiny BERT whose student is moved away."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rows import C, budget, sentences, small_bert
from torch.nn import functional as F
from toy import fingerprint

from embodkd.core import Context, Player, Role, Signals, Trainer
from embodkd.core.engine.answers import in_order
from embodkd.methods import get_method
from embodkd.models import load_model, make_model, save_model
from embodkd.parts.networks.bert_taps import compared, place
from embodkd.parts.networks.quantised_bert import Quantisation

pytest.importorskip("transformers", reason="extra language is not installed")
LAYERS, N = 2, 8
KINDS = ("output", "context", "map")
every_kind = pytest.mark.parametrize("kind", KINDS)
TI = get_method("teacher_intervention")


def bert(seed=0, **options):
    torch.manual_seed(seed)
    model = make_model("bert_classifier", (6,), C, vocabulary=9, width=8, depth=LAYERS, heads=2, dropout=0.0, **options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def made(student=None, updates=N, **options):
    """(student, teacher, recipe); the student is moved off its teacher after it took after it."""
    student, teacher = student or bert(1), bert(0)
    recipe = TI(**options).recipe(student, teacher, sentences(), seed=3, budget=budget(updates=updates))
    return student, teacher, recipe


def moved(model):
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def asked(recipe, stage=0):
    """The batch with the teacher's answers, the student's signals and the terms' means, at the first update."""
    player = recipe.stages[stage].players[0]
    batch = player.at(Signals(sentences().train.fields), 0, N)
    s, others = in_order(player, batch, player.train.signals, lambda who, seen: who.signals(seen))
    return s, others["t"], {name: value.mean() for name, value in player.terms(batch, s, **others).items()}


def slopes(student, *parts):
    """Whether these weights of each layer got a gradient other than 0."""
    found = [student.get_parameter(place(i, f"{part}.weight")).grad for i in range(LAYERS) for part in parts]
    return [gradient is not None and bool(gradient.any()) for gradient in found]


@pytest.mark.parametrize("intervention", [*KINDS, "gradual"])
def test_a_copy_at_full_precision_is_its_teacher_with_and_without_intervention(intervention):
    student, teacher, recipe = made(quantised=False, share=0.5, intervention=intervention)
    plain = Role(teacher, "frozen", taps=compared(LAYERS)).signals(Signals(sentences().train.fields))
    for stage in (0, 1):
        s, _, terms = asked(recipe, stage)
        for name in ("logits", *compared(LAYERS)):
            torch.testing.assert_close(s[name], plain[name], rtol=1e-5, atol=1e-6)
        assert all(terms[name] < 1e-10 for name in ("score", "hidden", "output"))
        p = plain.logits.softmax(1)
        torch.testing.assert_close(terms["soft"], -(p * p.log()).sum(1).mean())
        sum(terms.values()).backward()
        assert all(q.grad is None or q.grad.abs().max() < 1e-5 for q in student.parameters())


SILENT = {
    "output": ("attention.self.value", "attention.output.dense"),
    "context": ("attention.self.value",),
    "map": (),
}
LIVE = {
    "output": (),
    "context": ("attention.output.dense",),
    "map": ("attention.self.value", "attention.output.dense"),
}
ASKING = ("attention.self.query", "attention.self.key")


@every_kind
@pytest.mark.parametrize("quantised", [True, False])
def test_what_is_put_in_makes_the_weights_before_it_silent(kind, quantised):
    student, _, recipe = made(share=0.5, intervention=kind, quantised=quantised)
    moved(student)
    before, _, terms = asked(recipe)
    sum(terms.values()).backward()
    assert not any(slopes(student, *SILENT[kind]))
    assert all(slopes(student, *LIVE[kind], *ASKING, "intermediate.dense", "output.dense"))
    with torch.no_grad():
        for i in range(LAYERS):
            for part in SILENT[kind]:
                student.get_parameter(place(i, f"{part}.weight")).add_(torch.randn(8, 8))
    after, _, _ = asked(recipe)
    for name in ("logits", *compared(LAYERS)):
        assert torch.equal(before[name], after[name]), name


@every_kind
def test_queries_and_keys_learn_from_their_scores_alone(kind):
    student, _, recipe = made(share=0.5, intervention=kind, score=0.0)
    moved(student)
    _, _, terms = asked(recipe)
    assert "score" not in terms
    sum(terms.values()).backward()
    assert not any(slopes(student, *ASKING))
    student.zero_grad()
    sum(asked(recipe, 1)[2].values()).backward()
    assert all(slopes(student, *ASKING, *SILENT[kind]))


@every_kind
def test_what_counts_of_the_scores_is_where_somebody_is(kind):
    """Every loss by a slow formula of its own."""
    student, _, recipe = made(share=0.5, intervention=kind)
    moved(student)
    s, t, terms = asked(recipe)
    there = sentences().train.fields["mask"][:, None, None].expand(-1, 2, 6, -1)
    score = hidden = output = 0.0
    for i in range(LAYERS):
        squares = (s[f"scores_{i}"] - t[f"scores_{i}"])[there].square()
        score += squares.sum() / there.numel()
        output += F.mse_loss(s[f"after_{i}"], t[f"after_{i}"])
    for i in range(LAYERS + 1):
        hidden += F.mse_loss(s[f"hidden_{i}"], t[f"hidden_{i}"])
    soft = F.cross_entropy(s["logits"], t["logits"].softmax(1))
    wanted = {"score": score, "hidden": hidden, "output": output, "soft": soft}
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(terms[name], value, msg=name)


def in_three_values(w, rows=False):
    if rows:
        return torch.stack([in_three_values(row) for row in w])
    c = w.clamp(-2.5, 2.5)
    kept = c.abs() > 0.7 * c.abs().mean()
    return c[kept].abs().mean() * c.sign() * kept


def in_eight_bits(x):
    c = x.clamp(-2.5, 2.5)
    return (c * 127 / c.abs().max()).round() * c.abs().max() / 127


def slow_bert(model, ids_NT, there_NT):
    """The published forward pass, by plain products."""
    w = dict(model.named_parameters())

    def linear(x, name):
        return in_eight_bits(x) @ in_three_values(w[f"{name}.weight"]).T + w[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, (8,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

    e = "backbone.embeddings."
    x = in_three_values(w[f"{e}word_embeddings.weight"], rows=True)[ids_NT]
    x = norm(x + w[f"{e}position_embeddings.weight"] + w[f"{e}token_type_embeddings.weight"][0], f"{e}LayerNorm")
    for i in range(LAYERS):
        q, k, v = (
            in_eight_bits(linear(x, place(i, f"attention.self.{part}"))).unflatten(-1, (2, 4)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = (q @ k.transpose(2, 3) / math.sqrt(4)).masked_fill(~there_NT[:, None, None], -math.inf)
        context = (in_eight_bits(scores.softmax(-1)) @ v).transpose(1, 2).flatten(2)
        y = norm(linear(context, place(i, "attention.output.dense")) + x, place(i, "attention.output.LayerNorm"))
        h = F.gelu(linear(y, place(i, "intermediate.dense")))
        x = norm(linear(h, place(i, "output.dense")) + y, place(i, "output.LayerNorm"))
    pooled = torch.tanh(linear(x[:, 0], "backbone.pooler.dense"))
    return pooled @ w["classifier.weight"].T + w["classifier.bias"]


def test_the_quantised_network_is_the_cards_by_a_slow_formula():
    model = bert(quantised={"clip": 2.5, "factor": 0.7, "bits": 8}).double().eval()
    batch = sentences().train.fields
    with torch.no_grad():
        torch.testing.assert_close(model(batch)["logits"], slow_bert(model, batch["input"], batch["mask"]))
        assert not torch.allclose(model(batch)["logits"], bert().double().eval()(batch)["logits"])


def test_weights_far_outside_learn_nothing_those_inside_do():
    student, _, recipe = made(share=0.0)
    moved(student)
    with torch.no_grad():
        weight = student.get_parameter(place(0, "intermediate.dense.weight"))
        weight[:2] = 3.0
    sum(asked(recipe)[2].values()).backward()
    assert not weight.grad[:2].any() and weight.grad[2:].all()


@given(st.integers(0, 400))
def test_interventions_change_at_the_sixth_and_the_third(steps):
    gradual, inverted = TI().numbers(steps, 0), TI(intervention="inverted").numbers(steps, 0)
    assert gradual == tuple(0 if k < steps / 6 else 1 if k < steps / 3 else 2 for k in range(steps))
    assert inverted == tuple(2 if k < steps / 3 else 1 if k < 2 * steps / 3 else 0 for k in range(steps))
    drawn = [TI(intervention="stochastic").numbers(steps, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] and all(len(numbers) == steps and set(numbers) <= {0, 1, 2} for numbers in drawn)
    if steps > 100:
        assert drawn[0] != drawn[2] and all(abs(drawn[0].count(k) - steps / 3) < steps / 5 for k in range(3))


@pytest.mark.parametrize("kind", KINDS)
def test_in_every_update_that_one_is_on_which_the_batch_says(kind):
    """All three are wired at once; what is read off is the one of the number."""
    student, _, recipe = made(share=0.5, intervention="stochastic", updates=200)
    moved(student)
    player = recipe.stages[0].players[0]
    step = TI(intervention="stochastic").numbers(100, 3).index(KINDS.index(kind))
    batch = player.at(Signals(sentences().train.fields), step, 100)
    s, _ = in_order(player, batch, player.train.signals, lambda who, seen: who.signals(seen))
    fixed, _, other = made(share=0.5, intervention=kind)
    moved(fixed)
    torch.testing.assert_close(s["logits"], asked(other)[0]["logits"])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.99])
@pytest.mark.parametrize("length", [{"updates": 20}, {"updates": None, "epochs": 3}])
def test_both_steps_together_are_the_budget(share, length):
    own = budget(**length)
    recipe = TI(share=share).recipe(bert(1), bert(0), sentences(), budget=own)
    total = own.updates or 3 * 2
    lengths = [stage.updates() for stage in recipe.stages]
    assert sum(lengths) == total and lengths[:-1] == [s for s in [min(round(share * total), total - 1)] if s]


def test_share_0_is_plain_distillation_bit_for_bit():
    student, teacher, recipe = made(share=0.0, student=small_bert())
    plain = copy.deepcopy(student)
    Trainer(quiet=True, seed=3).fit(recipe)
    player = Player(
        Role(plain, taps=compared(LAYERS)),
        TI().terms,
        given={"t": Role(bert(0), "frozen", taps=compared(LAYERS))},
        optimiser=budget().optimiser,
    )
    Trainer(quiet=True, seed=3).fit(budget(updates=N).fit(player, sentences().train))
    assert fingerprint(student) == fingerprint(plain) != fingerprint(teacher)


def test_who_judges_during_an_intervention_asks_the_student_alone():
    student, teacher, recipe = made(share=0.5, evaluations=4)
    moved(student)
    judge = recipe.stages[0].every[0].step
    found = judge(Context(None, 0, torch.device("cpu"), 2))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.fill_(torch.nan)
    part = sentences().validation.fields
    right = student.eval()(part)["logits"].argmax(1) == part["label"]
    assert judge(Context(None, 0, torch.device("cpu"), 2)) == found
    assert found == {"validation/accuracy": pytest.approx(100.0 * right.double().mean().item())}


def test_the_product_computes_with_few_bits_wherever_it_is_loaded(tmp_path):
    student, teacher, recipe = made(share=0.5, clip=2.0, bits=6)
    Trainer(quiet=True).fit(recipe)
    loaded, config = load_model(save_model(tmp_path / "m", recipe.product))
    assert config["arguments"]["quantised"] == {"clip": 2.0, "factor": 0.7, "bits": 6}
    assert loaded.state_dict().keys() == teacher.state_dict().keys()
    batch = sentences().test.fields
    with torch.no_grad():
        own = recipe.product.eval()(batch)["logits"]
        assert torch.equal(loaded(batch)["logits"], own)
        teacher.load_state_dict(loaded.state_dict())
        assert not torch.allclose(teacher.eval()(batch)["logits"], own)
        teacher.quantise(Quantisation(2.0, bits=6))
        assert torch.equal(teacher(batch)["logits"], own)


def test_the_student_begins_with_the_teachers_weights():
    student, teacher, _ = made()
    assert fingerprint(student) == fingerprint(teacher)


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (lambda: make_model("mlp", (6,), C), "bert_classifier, got a MLP"),
        (lambda: bert(quantised={"bits": 4}), "leave model.quantised out"),
        (lambda: make_model("bert_classifier", (6,), C, vocabulary=9, width=8, depth=2, heads=4), "its heads is 4"),
        (lambda: make_model("bert_classifier", (6,), C, vocabulary=9, width=8, depth=1, heads=2), "layer.1"),
    ],
)
def test_a_student_that_is_no_copy_is_refused_by_name(student, said):
    with pytest.raises(ValueError, match=said):
        made(student())


def test_a_best_state_needs_somebody_who_judges():
    with pytest.raises(ValueError, match="keep_best needs evaluations"):
        TI(keep_best=True)
