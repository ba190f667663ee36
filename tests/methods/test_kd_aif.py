"""KD-AIF's identities: weights of one are plain distillation, scores are the formula, a wrong answer weighs less."""

import copy

import numpy as np
import pytest
import torch
from rows import C, blobs, budget, large, small
from torch import nn
from toy import fingerprint

from embodkd.core import Context, Recipe, Restart, Role, Signals, Stage, Trainer
from embodkd.methods.kd import KD
from embodkd.methods.kd_aif import KDAIF

CONTEXT = Context(None, 0, torch.device("cpu"))
DATA = blobs()


class Told(nn.Module):
    """A teacher that knows the labels and is sure of them, but for the samples in `wrong`."""

    reads = ("input", "sample_id")
    classes = C

    def __init__(self, data=DATA, wrong=()):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(3.0))
        answer = data.train.fields["label"].clone()
        for place in wrong:
            answer[place] = (answer[place] + 1) % C
        table = torch.zeros(int(data.train.fields["sample_id"].max()) + 1, dtype=torch.int64)
        self.register_buffer("answer", table.index_put((data.train.fields["sample_id"],), answer))

    def forward(self, batch):
        return {"logits": self.gain * nn.functional.one_hot(self.answer[batch["sample_id"]], C).float()}


def taught(seed=1):
    torch.manual_seed(seed)
    return large()


def student(seed=0):
    torch.manual_seed(seed)
    return small()


def fitted(method, teacher, model=None, epochs=30, data=DATA):
    """(student after the fit without weights, the recipe's table, filled)."""
    model = model or student()
    recipe = method.recipe(model, teacher, data, budget=budget(epochs))
    Trainer(quiet=True).fit(Recipe(recipe.stages[:2], model))
    return model, recipe.stages[1]


def test_the_stages_are_a_plain_fit_then_scores_a_restart_and_a_weighted_fit_per_round():
    kinds = [type(s) for s in KDAIF(rounds=2).recipe(student(), taught(), DATA, budget=budget()).stages]
    plain, *rest = kinds
    assert plain is Stage and rest[:4] == rest[4:] and rest[2] is Restart and rest[3] is Stage
    without = KDAIF(restart=False).recipe(student(), taught(), DATA, budget=budget()).stages
    assert len(without) == 4 and not any(isinstance(s, Restart) for s in without)


def test_weights_of_one_are_plain_distillation_bit_for_bit():
    teacher, models = taught(), [student() for _ in range(3)]
    options = {"temperature": 3.0, "scale_by_t2": True}
    weighted = KDAIF(transform="uniform", **options).recipe(models[0], teacher, DATA, budget=budget())
    Trainer(quiet=True).fit(Recipe((weighted.stages[1], weighted.stages[-1]), models[0]))
    Trainer(quiet=True).fit(KDAIF(rounds=0, **options).recipe(models[1], teacher, DATA, budget=budget()))
    Trainer(quiet=True).fit(KD(temperature=3.0, alpha=1.0).recipe(models[2], teacher, DATA, budget=budget()))
    assert fingerprint(models[0]) == fingerprint(models[1]) == fingerprint(models[2]) != fingerprint(student())


def test_the_second_fit_starts_where_the_first_one_did():
    model, starts = student(), []
    recipe = KDAIF().recipe(model, taught(), DATA, budget=budget())
    noted = [lambda _: starts.append(fingerprint(model)), recipe.stages[0]]
    for stage in recipe.stages[1:]:
        noted += [lambda _: starts.append(fingerprint(model)), stage] if isinstance(stage, Stage) else [stage]
    Trainer(quiet=True).fit(Recipe(tuple(noted), model))
    assert starts[0] == starts[1] != fingerprint(model)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize(("score_of", "scaled"), [("distillation", False), ("distillation", True), ("labels", False)])
def test_scores_are_the_formula_of_the_last_layer(score_of, scaled):
    """v^T (H + damping I)^-1 g_n with gradients and Hessian of softmax regression written out."""
    tau, teacher = 2.0, taught()
    method = KDAIF(temperature=tau, scale_by_t2=scaled, score_of=score_of, damping=0.05)
    model, table = fitted(method, teacher, epochs=3)

    def seen(part):
        twin = copy.deepcopy(model).double().eval()
        with torch.no_grad():
            s = twin(part.fields["input"].double())
        features = torch.cat([s["embedding"], torch.ones(len(s["logits"]), 1, dtype=torch.float64)], 1)
        return features.numpy(), s["logits"].numpy(), np.eye(C)[part.fields["label"].numpy()]

    x, z, y = seen(DATA.train)
    if score_of == "distillation":
        with torch.no_grad():
            target = softmax(teacher.eval()(DATA.train.fields["input"])["logits"].double().numpy() / tau)
        p, size = softmax(z / tau), tau if scaled else 1 / tau
        curvature = 1.0 if scaled else tau**-2
    else:
        p, target, size, curvature = softmax(z), y, 1.0, 1.0
    rows = np.einsum("nc,nd->ncd", size * (p - target), x).reshape(len(x), -1)
    blocks = curvature * (np.einsum("nc,ce->nce", p, np.eye(C)) - np.einsum("nc,ne->nce", p, p))
    hessian = np.einsum("nce,nd,nf->cdef", blocks, x, x).reshape(rows.shape[1], -1) / len(x)
    vx, vz, vy = seen(DATA.validation)
    slope = np.einsum("nc,nd->cd", softmax(vz) - vy, vx).ravel() / len(vx)
    expected = rows @ np.linalg.solve(hessian + 0.05 * np.eye(len(hessian)), slope)
    found = table["score"][DATA.train.fields["sample_id"]].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_one_wrong_answer_of_the_teacher_gets_a_negative_score_and_less_than_the_usual_weight():
    method = KDAIF(temperature=1.0)
    for place in (3, 10, 20):
        _, right = fitted(method, Told())
        _, table = fitted(method, Told(wrong=(place,)))
        own = int(DATA.train.fields["sample_id"][place])
        ids = DATA.train.fields["sample_id"]
        assert table["score"][own] < 0 and table["score"][own] < right["score"][own]
        assert table["score"][own] <= table["score"][ids].kthvalue(3).values
        assert table["weight"][own] < 0.5 * table["weight"][ids].median()


def test_flipped_weights_fall_with_the_score():
    ids = DATA.train.fields["sample_id"]
    for flip in (False, True):
        _, table = fitted(KDAIF(flip=flip), taught(), epochs=3)
        order = table["score"][ids].argsort()
        steps = table["weight"][ids][order].diff()
        assert ((steps <= 0) if flip else (steps >= 0)).all() and (steps != 0).any()
        assert table["weight"][ids].mean() == pytest.approx(1.0)


def test_weights_are_looked_up_by_sample_id():
    recipe = KDAIF().recipe(student(), taught(), DATA, budget=budget())
    table, stage = recipe.stages[1], recipe.stages[-1]
    table(CONTEXT)
    batch = DATA.train.gather(np.array([5, 2, 40]), 0)
    player = stage.players[0]
    given = {name: answerer.signals(batch) for name, answerer in player.given.items()}
    s = player.train.signals(batch)
    weight = player.ready_weights()["kd"](batch, s, **given)
    assert torch.equal(weight, table["weight"][batch.sample_id_N]) and weight.isfinite().all()
    unknown = torch.ones(len(table["weight"]), dtype=torch.bool).index_fill(0, DATA.train.fields["sample_id"], False)
    assert table["weight"][unknown].isnan().all()


@pytest.mark.parametrize("options", [{"solver": "cg"}, {"solver": "lissa", "scale": 2.0, "steps": 2000}])
def test_every_solver_gives_the_same_scores(options):
    ids = DATA.train.fields["sample_id"]
    exact, found = (fitted(KDAIF(damping=0.2, **more), taught(), epochs=2)[1]["score"][ids] for more in ({}, options))
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)


def test_all_layers_need_more_damping_and_agree_between_solvers():
    ids = DATA.train.fields["sample_id"]
    options, teacher = {"temperature": 1.0, "damping": 1.0}, Told(wrong=(3, 7))
    dense, cg, last = (
        fitted(KDAIF(**options, **more), teacher, epochs=10)[1]["score"][ids]
        for more in ({"layers": "all"}, {"layers": "all", "solver": "cg"}, {})
    )
    torch.testing.assert_close(cg, dense, rtol=1e-4, atol=1e-6)
    assert (dense - last).abs().max() > 0.1 * last.abs().max()


def test_the_auroc_is_the_share_of_right_and_wrong_pairs_in_the_right_order():
    teacher = Told(wrong=range(0, 48, 4))
    model = student()
    recipe = KDAIF(temperature=1.0).recipe(model, teacher, DATA, budget=budget(20))
    last = Trainer(quiet=True).fit(recipe).last
    scores = recipe.stages[1]["score"][DATA.train.fields["sample_id"]]
    right = torch.arange(48) % 4 != 0
    pairs = (scores[right][:, None] > scores[~right]).double().mean()
    assert last["score_auroc"] == pytest.approx(float(pairs)) and last["score_auroc"] > 0.8
    assert last["weight_wrong"] < 1.0 < last["weight_right"]


def test_a_teacher_that_is_never_wrong_has_no_auroc():
    last = Trainer(quiet=True).fit(KDAIF().recipe(student(), Told(), DATA, budget=budget())).last
    assert "score_auroc" not in last and "weight_wrong" not in last and last["weight_right"] == pytest.approx(1.0)


def test_an_updated_teacher_is_a_copy_that_learns_from_the_labels_with_the_same_weights():
    teacher = taught()
    before = fingerprint(teacher)
    recipe = KDAIF(update_teacher=True).recipe(student(), teacher, DATA, budget=budget())
    Trainer(quiet=True).fit(recipe)
    own, second = recipe.stages[-1].players
    role = own.given["t"]
    assert fingerprint(teacher) == before != fingerprint(role.model) and second.train is role
    batch = DATA.train.gather(np.arange(6), 0)
    given = {name: answerer.signals(batch) for name, answerer in second.given.items()}
    s = role.signals(batch)
    expected = -torch.log_softmax(s.logits_NC, 1)[torch.arange(6), batch.label_N]
    torch.testing.assert_close(second.terms(batch, s, **given)["ce"], expected)
    assert torch.equal(second.ready_weights()["ce"](batch, s, **given), given["w"].weight_N)
    assert isinstance(recipe.stages[0].players[0].given["t"], Role)
    assert recipe.stages[0].players[0].given["t"].model is teacher


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_give_finite_losses_gradients_scores_and_weights(dtype):
    method = KDAIF()
    s = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    value = method.terms(Signals({}), Signals({"logits": s}), Signals({"logits": -s.detach()}))["kd"]
    value.sum().backward()
    assert value.isfinite().all() and s.grad.isfinite().all()
    model = student()
    with torch.no_grad():
        model.classifier.weight.mul_(1e4)
    recipe = method.recipe(model, taught(), DATA, budget=budget())
    recipe.stages[1](CONTEXT)
    for name in ("score", "weight"):
        assert recipe.stages[1][name][DATA.train.fields["sample_id"]].isfinite().all()
