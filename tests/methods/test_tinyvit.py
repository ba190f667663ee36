"""TinyViT: the records, that they are learned from as stored, that the teacher rests, and what is handed over."""

import numpy as np
import pytest
import torch
from rows import IMAGE, budget, images, small_cnn

from embodkd.core import Context, Optimiser, Recipe, Stage, Trainer, cross_entropy, soft_cross_entropy
from embodkd.core import sparse_cross_entropy as sparse
from embodkd.methods import get_method
from embodkd.models import make_model
from embodkd.parts.images.keyed import SEED, KeyedView

TinyViT = get_method("tinyvit")
CONTEXT = Context(None, 0, torch.device("cpu"))
SHORT = {"passes": 2, "top_k": 2}


def wide(classes=40, seed=1):
    torch.manual_seed(seed)
    return make_model("cnn", IMAGE, classes, widths=(8, 16))


def stages(method, teacher=None, student=None, seed=5, pool=40, **options):
    torch.manual_seed(0)
    own = student or small_cnn()
    recipe = method.recipe(own, teacher or wide(), images(pool=pool), seed=seed, budget=budget(**options))
    return recipe, recipe.stages[0]


def test_a_record_has_4k_plus_4_bytes_whatever_the_classes(tmp_path):
    for classes, k in ((40, 3), (1000, 10)):
        _, bank = stages(TinyViT(passes=2, top_k=k, folder=str(tmp_path / str(classes))), wide(classes))
        bank(CONTEXT)
        for e in (0, 1):
            rows = np.load(tmp_path / str(classes) / f"pass_{e}" / "records.npy")
            assert rows.nbytes == 40 * (4 * k + 4) if classes > 256 else 40 * (3 * k + 4)
            assert rows.dtype["probs"].base == np.float16 and rows.dtype[SEED] == np.int32
            assert (np.diff(rows["probs"].astype(float), axis=1) <= 0).all()


def test_the_record_of_a_picture_depends_on_no_order_and_no_batch(tmp_path):
    method = TinyViT(**SHORT)
    (_, one), (_, other) = stages(method), stages(method)
    one.batch_size, other.batch_size = 512, 7
    one(CONTEXT), other(CONTEXT)
    for epoch in (0, 1, 2):
        a, b = (bank.as_seen().gather(np.arange(40), epoch) for bank in (one, other))
        assert torch.equal(a[SEED], b[SEED]) and torch.equal(method.view(a), method.view(b))
        assert torch.equal(one.signals(a)["index"], other.signals(b)["index"])
        torch.testing.assert_close(one.signals(a)["probs"], other.signals(b)["probs"], atol=1e-3, rtol=0)
    found = one.verify()
    assert found.rows == 80 and found.difference < 1e-3 and found.differing == 0.0
    (_, again) = stages(method, seed=6)
    again(CONTEXT)
    assert not torch.equal(again.as_seen().gather(np.arange(40), 0)[SEED], one.as_seen().gather(np.arange(40), 0)[SEED])


def test_pass_p_shows_what_the_teacher_saw_in_stored_pass_p_and_later_ones_start_over():
    teacher, method = wide().eval(), TinyViT(passes=2, top_k=40)
    _, bank = stages(method, teacher)
    bank(CONTEXT)
    seen = bank.as_seen()
    for epoch in (0, 1, 2, 5):
        batch = seen.gather(np.arange(40), epoch)
        stored, today = bank.signals(batch), teacher(method.view(batch))["logits"].softmax(1)
        whole = torch.zeros(40, 40).scatter(1, stored["index"].long(), stored["probs"].float())
        torch.testing.assert_close(whole, today, atol=5e-4, rtol=0)
        other = bank.as_seen(other_views=True).gather(np.arange(40), epoch)
        assert not torch.equal(method.view(other), method.view(batch))
        assert torch.equal(bank.signals(other)["probs"], stored["probs"])


def test_stage_1_minimises_the_recovered_target_and_its_gradient_is_softmax_minus_target():
    method = TinyViT(passes=1, top_k=3)
    recipe, bank = stages(method)
    bank(CONTEXT)
    (player,) = recipe.stages[1].players
    batch = recipe.stages[1].source.gather(np.arange(9), 0)
    s, t = player.train.signals(batch), bank.signals(batch)
    head = player.helpers["head"]
    logits = head(s["embedding"]).detach().requires_grad_()
    probs, index = t["probs"].float(), t["index"].long()
    target = ((1 - probs.sum(1)) / 37).clamp(min=0)[:, None].expand(-1, 40).scatter(1, index, probs)
    target = target / target.sum(1, keepdim=True)
    torch.testing.assert_close(target.sum(1), torch.ones(9), atol=1e-6, rtol=0)
    assert torch.equal(target.topk(3).indices, index)
    expected = -(target * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(player.terms(batch, s, t)["sparse"], expected.detach(), atol=1e-5, rtol=1e-5)
    sparse(logits, probs, index).mean().backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - target).detach() / 9, atol=1e-6, rtol=1e-4)


def test_all_classes_stored_is_plain_soft_cross_entropy_and_one_sure_class_the_label():
    torch.manual_seed(0)
    logits, teacher = torch.randn(7, 5), torch.randn(7, 5).softmax(1)
    values, index = teacher.half().topk(5)
    torch.testing.assert_close(
        sparse(logits, values.float(), index), soft_cross_entropy(logits, teacher), atol=2e-3, rtol=2e-3
    )
    label = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    found = sparse(logits, torch.ones(7, 1), label[:, None])
    torch.testing.assert_close(found, cross_entropy(logits, label))


def test_dense_logits_teach_what_many_sparse_ones_do():
    """K = C in float16 and all logits in float32 end at nearly the same weights."""
    found = []
    for k in (None, 40):
        recipe, _ = stages(TinyViT(passes=2, top_k=k), optimiser=Optimiser("sgd", 0.05))
        Trainer(quiet=True, seed=1).fit(recipe)
        found.append(torch.cat([p.detach().flatten() for p in recipe.product.parameters()]))
    torch.testing.assert_close(*found, atol=2e-4, rtol=1e-3)
    assert not torch.equal(*found)


def test_the_teacher_is_asked_once_about_each_view_and_never_while_the_student_learns():
    teacher, asked, at = wide(), [0], []
    teacher.register_forward_hook(lambda module, inputs, output: asked.__setitem__(0, asked[0] + len(inputs[0])))
    recipe, _ = stages(TinyViT(**SHORT, check=0.5), teacher)
    asked[0] = 0

    class Watched(Trainer):
        def _update(self, *args, **kwargs):
            at.append(asked[0])
            return super()._update(*args, **kwargs)

    Watched(quiet=True, seed=1).fit(recipe)
    assert len(at) > 3 and set(at) == {2 * 40 + 2 * 20} and asked[0] == at[0]


def test_labels_count_in_fine_tuning_only():
    found = []
    for shuffle in (False, True):
        torch.manual_seed(0)
        data = images(pool=40)
        if shuffle:
            data.train.fields["label"].copy_(data.train.fields["label"].flip(0))
        recipe = TinyViT(**SHORT).recipe(small_cnn(), wide(), data, seed=5, budget=budget())
        recipe.stages[0](CONTEXT)
        batch = recipe.stages[1].source.gather(np.arange(16), 0)
        assert "label" not in batch
        player = recipe.stages[1].players[0]
        found.append(player.terms(batch, player.train.signals(batch), player.given["t"].signals(batch))["sparse"])
    assert torch.equal(*found)


def test_fine_tuning_is_supervised_learning_with_a_rate_that_falls_towards_the_stem():
    recipe, _ = stages(TinyViT(**SHORT, layer_decay=0.5, tuning_rate=0.02, shift=1))
    last = recipe.stages[-1]
    (player,) = last.players
    assert isinstance(last, Stage) and player.train.mode == "eval" and not player.given and len(last.prepare) == 1
    assert player.optimiser.layer_decay == 0.5 and player.optimiser.rate().start == 0.02
    scale = {n: b.scale for b in player.optimiser.bundles(player.named_parameters()) for n in b.names}
    assert scale["classifier.weight"] == 1.0 and scale["layers.0.0.weight"] < scale["layers.1.1.weight"] < 1.0
    # without pre-training's traces and novelties it is "supervised", bit for bit
    torch.manual_seed(0)
    one, other = small_cnn(), small_cnn()
    other.load_state_dict(one.state_dict())
    own = TinyViT(**SHORT, layer_decay=1.0, frozen_statistics=False)
    second = budget().split(own.share)[1]
    data = images(pool=40)
    tuned = Stage([own.fine_tuning(one, second)], data.train, epochs=second.epochs, batch_size=second.batch_size)
    Trainer(quiet=True, seed=2).fit(Recipe((tuned,), one))
    Trainer(quiet=True, seed=2).fit(get_method("supervised")().recipe(other, None, data, seed=5, budget=second))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_remapped_head_answers_as_the_pre_trained_one_and_nought_for_a_missing_class():
    remap = (7, -1, 3)
    recipe, _ = stages(TinyViT(**SHORT, remap=remap))
    student, head = recipe.product, recipe.stages[1].players[0].helpers["head"]
    with torch.no_grad():
        head.weight.normal_()
        head.bias.normal_()
    recipe.stages[2](CONTEXT)
    student.eval()
    signals = student(torch.rand(5, *IMAGE))
    everything = torch.cat([head(signals["embedding"]), torch.zeros(5, 1)], 1)
    torch.testing.assert_close(signals["logits"], everything[:, [7, 40, 3]])
    with pytest.raises(ValueError, match=r"a place below 40, or -1, for each of 3 classes"):
        stages(TinyViT(**SHORT, remap=(1, 2)))


def test_mixing_keeps_pairs_in_the_store_and_an_odd_pool_is_refused():
    method = TinyViT(**SHORT, mixup=0.8, cutmix=1.0)
    _, bank = stages(method)
    bank(CONTEXT)
    whole = method.view(bank.as_seen().gather(np.arange(40), 1))
    order = np.random.default_rng(0).permutation(40)
    parts = torch.cat([method.view(bank.as_seen().gather(rows, 1)) for rows in np.array_split(order, 7)])
    assert torch.equal(parts, whole[torch.from_numpy(order)])
    assert bank.verify().differing == 0.0 and not torch.equal(
        whole,
        KeyedView().alone(bank.source.gather(np.arange(40), 1)["input"], bank.source.gather(np.arange(40), 1)[SEED]),
    )
    with pytest.raises(ValueError, match="39 is an odd number"):
        stages(method, pool=39)


def test_a_store_of_another_teacher_is_refused(tmp_path):
    options = {**SHORT, "folder": str(tmp_path)}
    stages(TinyViT(**options))[1](CONTEXT)
    with pytest.raises(ValueError, match="another teacher's weights"):
        stages(TinyViT(**options), wide(seed=9))[1](CONTEXT)
    with pytest.raises(ValueError, match="another .*view"):
        stages(TinyViT(**options, flip=0.1))[1](CONTEXT)


def test_a_small_tiny_vit_learns_by_it():
    torch.manual_seed(0)
    student = make_model("tiny_vit", IMAGE, 3, widths=(8, 8), depths=(1, 1), heads=(1, 2), windows=(2, 2))
    before = {n: p.detach().clone() for n, p in student.named_parameters()}
    recipe, _ = stages(TinyViT(**SHORT), student=student)
    Trainer(quiet=True).fit(recipe)
    still = [n for n, p in student.named_parameters() if torch.equal(p, before[n])]
    assert still == ["stages.1.1.attention.bias"], "of one token in all"
