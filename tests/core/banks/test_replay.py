"""A student sees the view that the stored answer was given for, whatever the order, batch size and pass it is in."""

import numpy as np
import pytest
import torch
from torch import nn

from embodkd.core import (
    Bank,
    Context,
    Player,
    Recipe,
    Role,
    Seeded,
    Selected,
    TensorData,
    Trainer,
    fit,
    soft_cross_entropy,
    sparse_cross_entropy,
)
from embodkd.core.banks.replay import PASS

N, C, E = 30, 4, 3
CONTEXT = Context(None, 0, torch.device("cpu"))


def items(n=N):
    return TensorData({"input": torch.randn(n, 3, generator=torch.Generator().manual_seed(0))})


def seeded(seed=0):
    return Seeded(items(), seed=seed)


def jitter(batch):
    """A view in which every draw is a function of the item's seed."""
    drawn = [torch.randn(3, generator=torch.Generator().manual_seed(int(s))) for s in batch["augment_seed"]]
    return batch["input"] + torch.stack(drawn).to(batch["input"].dtype)


class Moved(TensorData):
    """Augments by the pass, and says nothing of how."""

    def gather(self, index, epoch):
        batch = super().gather(index, epoch)
        return batch.merge(input=batch["input"] * (1.0 + epoch))


def teacher(seed=1, view=jitter):
    torch.manual_seed(seed)
    return Role(nn.Linear(3, C), "frozen", view=view)


def network(seed=2):
    torch.manual_seed(seed)
    return nn.Linear(3, C)


def stored(folder=None, *, epochs=E, source=None, view=jitter, replay="augment_seed", **options):
    source = seeded() if source is None else source
    made = Bank(teacher(view=view), source, epochs=epochs, replay=replay, batch_size=7, folder=folder, **options)
    made(CONTEXT)
    return made


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("epochs", [1, E])
def test_the_rebuilt_view_is_the_one_that_was_answered(tmp_path, epochs, folder):
    bank = stored(tmp_path if folder else None, epochs=epochs)
    source, live = bank.as_seen(), teacher()
    order = np.random.default_rng(0).permutation(N)
    for p in range(2 * epochs):
        for size in (1, 4, N):
            for start in range(0, N, size):
                batch = source.gather(order[start : start + size], p)
                torch.testing.assert_close(bank.signals(batch)["logits"], live.signals(batch)["logits"])
                expected = seeded().gather(order[start : start + size], p % epochs)
                assert torch.equal(batch["augment_seed"], expected["augment_seed"])
    assert batch["augment_seed"].dtype is torch.int32 and (batch[PASS] == epochs - 1).all()


def test_each_pass_has_views_of_its_own():
    bank = stored()
    views = [jitter(bank.as_seen().gather(np.arange(N), p)) for p in range(2 * E)]
    for p in range(E):
        assert torch.equal(views[p], views[p + E])
        assert not any((views[p] == views[q]).any() for q in range(E) if q != p)


def test_the_seed_that_counts_is_the_stored_one():
    bank = stored()
    # whatever the source says now, the answers are of the views of then
    expected = [bank.as_seen().gather(np.arange(N), p)["augment_seed"] for p in range(E)]
    bank.source.seed = 5
    for p in range(E):
        found = bank.as_seen().gather(np.arange(N), p)["augment_seed"]
        assert (
            torch.equal(found, expected[p]) and not (found == bank.source.gather(np.arange(N), p)["augment_seed"]).any()
        )


def test_other_views_come_with_the_same_answers():
    bank = stored()
    right, wrong = bank.as_seen(), bank.as_seen(other_views=True)
    every = [right.gather(np.arange(N), p) for p in range(E)]
    for p in range(2 * E):
        batch = wrong.gather(np.arange(N), p)
        assert torch.equal(bank.signals(batch)["logits"], bank.signals(every[p % E])["logits"])
        assert not any((jitter(batch) == jitter(seen)).any() for seen in every)


def test_a_source_that_augments_by_the_pass_is_shown_again_without_seeds():
    bank = stored(source=Moved(dict(items().fields)), view="input", replay=None)
    live = teacher(view="input")
    for p in range(2 * E):
        batch = bank.as_seen().gather(np.arange(5), p)
        torch.testing.assert_close(bank.signals(batch)["logits"], live.signals(batch)["logits"])
    assert torch.equal(batch["input"], items().gather(np.arange(5), 0)["input"] * E)


def test_a_batch_that_does_not_say_its_pass_is_refused():
    bank, single = stored(), stored(epochs=1)
    batch = seeded().gather(np.arange(4), 0)
    with pytest.raises(ValueError, match=r"holds the passes 0, 1, 2, and this batch is of an unknown one.*as_seen\(\)"):
        bank.signals(batch)
    with pytest.raises(ValueError, match=r"is of \[0, 1\]"):
        bank.signals(batch.merge(**{PASS: torch.tensor([0, 1, 0, 0])}))
    with pytest.raises(ValueError, match="holds nothing yet"):
        Bank(teacher(), seeded()).signals(batch)
    torch.testing.assert_close(single.signals(batch)["logits"], teacher().signals(batch)["logits"])


def test_a_longer_bank_takes_up_the_passes_of_a_shorter_one_and_a_later_part(tmp_path):
    asked = []

    def made(**options):
        bank = Bank(teacher(), seeded(), replay="augment_seed", folder=tmp_path, **options)
        answer = bank.answerer.signals
        bank.answerer.signals = lambda batch: asked.append(len(batch["input"])) or answer(batch)
        bank(CONTEXT)
        return bank

    made(epochs=2)
    made(epoch=3)
    assert sum(asked) == 3 * N
    bank = made(epochs=4)
    assert sum(asked) == 4 * N
    whole = stored(epochs=4)
    for p in range(4):
        batch = bank.as_seen().gather(np.arange(N), p)
        torch.testing.assert_close(bank.signals(batch)["logits"], whole.signals(batch)["logits"])


def test_a_fill_that_is_stopped_goes_on_with_the_pass_that_it_was_in_to_the_same_bytes(tmp_path, monkeypatch):
    def files(folder):
        return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    stored(tmp_path / "whole", top_k=2)
    count = []

    def stop(batch):
        count.append(1)
        if len(count) == 8:
            raise KeyboardInterrupt
        return jitter(batch)

    bank = Bank(teacher(), seeded(), epochs=E, replay="augment_seed", batch_size=7, folder=tmp_path / "cut", top_k=2)
    bank.answerer.view, kept = stop, bank.answerer.fingerprint()
    monkeypatch.setattr(bank.answerer, "fingerprint", lambda: kept)
    with pytest.raises(KeyboardInterrupt):
        bank(CONTEXT)
    assert [p.name for p in (tmp_path / "cut").iterdir()] == ["pass_0"]
    before = (tmp_path / "cut" / "pass_0" / "records.npy").stat().st_mtime_ns
    bank(CONTEXT)
    assert before == (tmp_path / "cut" / "pass_0" / "records.npy").stat().st_mtime_ns
    whole, cut = files(tmp_path / "whole"), files(tmp_path / "cut")
    assert {n: b for n, b in whole.items() if n.name != "bank.json"} == {
        n: b for n, b in cut.items() if n.name != "bank.json"
    }
    assert len(count) == 8 + 2 * 5


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"top_k": 3, "values": "float16"}])
def test_the_answerer_asked_again_says_what_is_stored(tmp_path, options):
    bank = stored(tmp_path, **options)
    for share, rows in ((1.0, N), (0.5, N // 2), (0.001, 1)):
        found = bank.verify(share)
        assert found.rows == E * rows and found.difference < 1e-6 and found.differing == 0.0
    with torch.no_grad():
        bank.answerer.model.weight.neg_()
    found = bank.verify()
    assert found.difference > 0.02 and (found.differing > 0.5) == ("top_k" in options)
    with pytest.raises(ValueError, match="a share must lie in"):
        bank.verify(0.0)


def test_verification_reports_the_mean_difference_itself():
    bank = stored()
    with torch.no_grad():
        bank.answerer.model.bias[0] += 2.0
    assert bank.verify().difference == pytest.approx(2.0 / C, rel=1e-5)


def trained(recipe):
    student = recipe.product.double()
    Trainer(quiet=True, seed=3, precision="float64").fit(recipe)
    return student.state_dict()


def test_a_student_learns_the_same_from_stored_passes_as_from_the_live_teacher():
    def terms(batch, s, t):
        return {"kd": soft_cross_entropy(s.logits_NC, t.logits_NC.softmax(1))}

    def sparse(batch, s, t):
        return {"kd": sparse_cross_entropy(s.logits_NC, t.probs_NK, t.index_NK)}

    length = {"epochs": E, "batch_size": 8}
    live = Player(Role(network(), view=jitter), terms, given={"t": teacher()})
    expected = trained(fit(live, seeded(), **length))
    for top_k, own in ((None, terms), (C, sparse)):
        bank = Bank(teacher(), seeded(), epochs=E, replay="augment_seed", top_k=top_k)
        student = Role(network(), view=jitter)
        learning = fit(Player(student, own, given={"t": bank}), bank.as_seen(), **length)
        found = trained(Recipe((bank, *learning.stages), student.model))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_no_teacher_is_asked_while_the_student_learns():
    bank = stored()
    bank.answerer.signals = None

    def terms(batch, s, t):
        return {"kd": soft_cross_entropy(s.logits_NC, t.logits_NC.softmax(1))}

    fitted = fit(Player(Role(network(), view=jitter), terms, given={"t": bank}), bank.as_seen(), epochs=2 * E)
    assert Trainer(quiet=True).fit(fitted).updates == 2 * E


def test_a_chosen_part_of_what_was_seen_keeps_its_answers():
    bank, live = stored(), teacher()
    part = Selected(bank.as_seen(), lambda refill: np.arange(3, 20, 2))
    part.refill(0)
    batch = part.gather(np.array([4, 0, 2]), E + 1)
    torch.testing.assert_close(bank.signals(batch)["logits"], live.signals(batch)["logits"])


def test_seeds_are_a_function_of_seed_pass_and_sample_alone_and_fit_four_bytes():
    source = Seeded(items(5000))
    whole = source.gather(np.arange(5000), 2)["augment_seed"]
    order = np.random.default_rng(0).permutation(5000)
    assert torch.equal(source.gather(order, 2)["augment_seed"], whole[order])
    assert whole.dtype is torch.int32 and whole.min() >= 0 and whole.max() > 2**30
    assert len(whole.unique()) >= 4990  # 2^31 / 5000^2 of chance
    for other in (Seeded(items(5000), seed=1).gather(np.arange(5000), 2), source.gather(np.arange(5000), 3)):
        assert (other["augment_seed"] == whole).sum() < 3
    assert source.size() == source.planned_size(0) == 5000 and source.refresh == "never" and source.refill(0) == {}
