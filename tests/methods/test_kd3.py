"""KD^3 against its equations: the factor, the search, what is borrowed and stays, what has no influence."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from rows import C, budget, images, large_cnn, small_cnn
from toy import fingerprint

from embodkd.core import Optimiser, Signals, Splits, TensorData, Trainer, kl, nt_xent
from embodkd.core.batch.pieces import prepared
from embodkd.methods.kd3 import KD3, disagreement
from embodkd.models import make_model

pool_of_40 = partial(images, pool=40)
ALL = {"cutoff": 0.0, "embed": 8}


def models():
    torch.manual_seed(0)
    return small_cnn(), large_cnn().eval()


def parts(method, student, teacher, **keys):
    """(the product, its player, the whole pool as a prepared batch)."""
    recipe = method.recipe(student, teacher, pool_of_40(), seed=1, budget=budget(**keys))
    stage = recipe.stages[0]
    stage.source.refill(0)
    torch.manual_seed(2)
    batch = prepared(stage.source.gather(np.arange(stage.source.size()), 0), stage.prepare)
    return recipe.product, stage.players[0], batch


def asked(player, batch):
    s = player.train.signals(batch)
    given = {name: answerer.signals(batch) for name, answerer in player.given.items()}
    return player.terms(batch, s, **given), s, given


def logits(*rows, dtype=torch.float64):
    return Signals(logits=torch.tensor(rows, dtype=dtype))


def test_the_factor_is_a_half_where_logits_coincide_and_grows_with_their_distance():
    s, t = logits([1.0, 2, 3], [0, 0, 0], [0, 0, 0]), logits([1.0, 2, 3], [1, 2, 2], [9, -9, 9])
    a = disagreement(s, s, t)
    expected = [1 / (1 + math.exp(-d)) for d in (0.0, 3.0, math.sqrt(243))]
    assert a.tolist() == pytest.approx(expected, abs=1e-6) and (a >= 0.5).all() and (a < 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_factor_has_no_gradient_and_is_finite_for_extreme_logits(dtype):
    s = Signals(logits=torch.tensor([[1e4, -1e4], [3e38, 0.0]]).to(dtype).requires_grad_())
    a = disagreement(s, s, Signals(logits=-s.logits.detach()))
    assert torch.isfinite(a).all() and not a.requires_grad and (a <= 1).all()


def test_the_loss_is_that_of_the_equations():
    student, teacher = models()
    product, player, batch = parts(KD3(**ALL, contrast_weight=0.05), student, teacher)
    found, s, given = asked(player, batch)
    t = teacher(batch.input)
    assert s["map"].shape == t["map"].shape
    torch.testing.assert_close(found["features"], (s["map"] - t["map"]).square().mean((1, 2, 3)))
    weights = player.ready_weights()
    distance = (s.logits - t["logits"]).norm(dim=1)
    torch.testing.assert_close(weights["features"](batch, s, **given), distance.sigmoid().detach(), atol=1e-6, rtol=0)
    assert weights["contrast"].at(0) == 0.05
    own, mixed = (player.helpers["embed_s"](product(x)["own"]) for x in (batch.input, batch.mixed))
    torch.testing.assert_close(found["contrast"], nt_xent(own, mixed), rtol=1e-3, atol=1e-4)
    equal = player.terms(batch, s.merge(map=t["map"]), **given)
    assert not equal["features"].any()
    plain = parts(KD3(**ALL, weigh=False), student, teacher)[1]
    assert "features" not in plain.weights


def test_both_views_of_the_contrast_move_the_student_and_nothing_moves_the_borrowed_layer():
    student, teacher = models()
    product, player, batch = parts(KD3(**ALL), student, teacher)
    found, s, given = asked(player, batch)
    learned = [p for p in product.backbone.layers.parameters()]
    for value in (given["s_mixed"].own.sum(), found["contrast"].sum(), found["features"].sum()):
        assert any(slope.any() for slope in torch.autograd.grad(value, learned, retain_graph=True))
    assert not any("classifier" in name for name, p in product.named_parameters() if p in set(learned))
    assert torch.equal(product.classifier.weight, teacher.classifier.weight)
    assert not product.classifier.weight.requires_grad


def test_training_changes_neither_teacher_nor_borrowed_layer_nor_the_unused_one():
    student, teacher = models()
    former, unused = fingerprint(teacher), fingerprint(student.classifier)
    recipe = KD3(**ALL).recipe(student, teacher, pool_of_40(), budget=budget())
    Trainer(quiet=True).fit(recipe)
    assert fingerprint(teacher) == former and fingerprint(student.classifier) == unused
    assert fingerprint(recipe.product.classifier) == fingerprint(teacher.classifier)


def test_the_teachers_own_contrast_has_no_influence_on_the_student():
    found = []
    for teacher_contrast in (False, True):
        student, teacher = models()
        method = KD3(**ALL, contrast_weight=0.5, teacher_contrast=teacher_contrast)
        recipe = method.recipe(student, teacher, pool_of_40(), seed=1, budget=budget())
        Trainer(quiet=True, seed=4).fit(recipe)
        found.append(fingerprint(recipe.product))
    assert found[0] == found[1]


def test_a_contrast_across_is_one_more_term_with_student_and_teacher():
    student, teacher = models()
    _, player, batch = parts(KD3(**ALL, across=True), student, teacher)
    found, s, given = asked(player, batch)
    one, other = player.helpers["embed_s"](s.own), player.helpers["embed_t"](given["t"].embedding)
    torch.testing.assert_close(found["across"], nt_xent(one, other, temperature=0.3))


def test_the_share_of_the_teacher_has_the_released_constants_at_240_epochs():
    method = KD3()
    shares = [method.blend(epoch, 240) for epoch in range(1, 241)]
    assert shares[0] == pytest.approx(0.992, abs=5e-4) and shares[118] == pytest.approx(0.268, abs=5e-4)
    assert shares[119:] == [0.0] * 121 and shares[:120] == sorted(shares[:120], reverse=True)
    for epoch in (1, 60, 119):
        slow = 1 - math.exp(-5 * ((epoch + 1) / 160 - 1) ** 2)
        assert method.blend(epoch, 240) == pytest.approx(slow)


def test_logits_are_mixed_not_probabilities_and_compared_with_the_threshold_of_their_class():
    s = torch.tensor([[6.0, 0, 0], [4, 0, 0], [0, 1, 0], [0, 0, 0.1]])
    t = torch.tensor([[6.0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0.1]])
    method = KD3()
    # answers 0, 0, 1, 2: cutoff 0.95 for class 0, 0.95 / 3 for the others
    for alpha in (0.0, 0.5, 1.0):
        p = (alpha * t + (1 - alpha) * s).softmax(1)
        bound = [0.95, 0.95, 0.95 / 3, 0.95 / 3]
        if alpha == 1.0:  # the second item answers 0 in a tie
            assert p[1].argmax() == 0
        expected = [k for k in range(4) if p[k].max() > bound[k]]
        assert method.kept(s, t, alpha).tolist() == expected
    assert KD3(cutoff=0.0).kept(s, t, 0.3).tolist() == [0, 1, 2, 3]
    assert 1 in method.kept(s, t, 0.0) and 1 not in method.kept(s, t, 1.0)


def test_the_pool_is_searched_before_each_epoch_by_both_networks_as_they_are_in_evaluation_mode():
    pool = pool_of_40().part("pool").fields["input"]
    options = {"blend_until": 2.0, "blend_steepness": 2.0, "blend_centre": 5.0, "embed": 8}

    def tried(cutoff):
        student, teacher = models()
        method = KD3(cutoff=cutoff, **options)
        recipe = method.recipe(student, teacher, pool_of_40(), seed=1, budget=budget(epochs=3))
        with torch.no_grad():
            s, t = (m.eval()(pool)["logits"] for m in (recipe.product, teacher))
        return method, recipe, [(s, t, method.blend(epoch, 3)) for epoch in (1, 2, 3)]

    confidences = [(a * t + (1 - a) * s).softmax(1).max(1).values for s, t, a in tried(0.0)[2]]
    method, recipe, searches = tried(min(float(c.median()) for c in confidences))
    former = {name: value.clone() for name, value in recipe.product.state_dict().items()}
    sizes = []
    for refill, search in enumerate(searches):
        recipe.stages[0].source.refill(refill)
        sizes.append(recipe.stages[0].source.size())
        assert recipe.stages[0].source.places.tolist() == method.kept(*search).tolist()
    assert min(sizes) < 30 and len(set(sizes)) > 1
    assert all(torch.equal(former[name], value) for name, value in recipe.product.state_dict().items())
    assert recipe.stages[0].updates() == 3 * 3  # of 16 items of 40 each


def test_where_no_image_passes_all_are_kept():
    recipe = KD3(cutoff=1.0).recipe(*models(), pool_of_40(), budget=budget())
    assert recipe.stages[0].source.refill(0) == {"selected/share": 1.0} and recipe.stages[0].source.size() == 40


def test_as_a_baseline_it_is_distillation_on_the_pool_with_the_students_own_layer():
    student, teacher = models()
    method = KD3(match="logits", select=False, contrast_weight=0.0, temperature=3.0)
    product, player, batch = parts(method, student, teacher)
    found, s, _ = asked(player, batch)
    assert product is student and list(found) == ["kd"] and not player.helpers and "mixed" not in batch
    expected = kl(student(batch.input)["logits"], teacher(batch.input)["logits"], temperature=3.0)
    torch.testing.assert_close(found["kd"], expected)


def test_measures_count_what_the_first_and_the_last_search_keep():
    data = pool_of_40()
    origin = torch.arange(40) % 4
    pool = TensorData({**data.part("pool").fields, "origin": origin})
    data = Splits(data.train, data.validation, data.test, data.classes, data.shape, extra={"pool": pool})
    student, teacher = models()
    with torch.no_grad():
        z, t = (m.eval()(pool.fields["input"])["logits"] for m in (student, teacher))
    method = KD3(cutoff=float(z.softmax(1).max(1).values.median()))
    found = method.measures(student, teacher, data)
    assert found["base_rate"] == pytest.approx(25.0) and 0 < found["kept_alone"] < 100
    for suffix, alpha in (("", 1 - math.exp(-5)), ("_alone", 0.0)):
        kept = method.kept(z, t, alpha)
        assert found[f"kept{suffix}"] == pytest.approx(2.5 * len(kept))
        assert found[f"precision{suffix}"] == pytest.approx(100.0 * float((origin[kept] == 0).float().mean()))
    assert method.measures(student, teacher, pool_of_40()) == {}


def test_mistakes_are_single_clear_errors():
    student, teacher = models()
    with pytest.raises(ValueError, match="did you mean 'pool'"):
        KD3(pool="poo").recipe(student, teacher, pool_of_40(), budget=budget())
    loudest = make_model("cnn", (1, 8, 8), C, widths=(8, 16), pool="max")
    with pytest.raises(ValueError, match="average"):
        KD3().recipe(student, loudest, pool_of_40(), budget=budget())
    flat = make_model("mlp", (1, 8, 8), C, hidden=(8,))
    with pytest.raises(ValueError, match="convolutional"):
        KD3().recipe(flat, teacher, pool_of_40(), budget=budget())
    with pytest.raises(ValueError, match="multiple of epochs=2"):
        KD3().recipe(student, teacher, pool_of_40(), budget=budget(updates=7))


def test_a_student_comes_near_its_teachers_answers_by_features_alone():
    student, teacher = models()
    method = KD3(select=False, embed=8)
    recipe = method.recipe(student, teacher, pool_of_40(), budget=budget(epochs=1))
    pool = pool_of_40().part("pool").fields["input"]

    def gap():
        with torch.no_grad():
            return float((recipe.product.eval()(pool)["map"] - teacher(pool)["map"]).square().mean())

    before = gap()
    keys = {"epochs": 20, "optimiser": Optimiser("adam", 0.01)}
    recipe = method.recipe(student, teacher, pool_of_40(), budget=budget(**keys))
    Trainer(quiet=True).fit(recipe)
    assert gap() < 0.6 * before
