"""A bank answers as the live teacher would, for the right samples, from the right teacher, without loading itself."""

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
    RunFolder,
    Table,
    TensorData,
    Trainer,
    class_means,
    collect,
    fit,
    kl,
)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(3, 4)


def data(n=50, first_id=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorData(
        {
            "input": torch.randn(n, 3, generator=generator),
            "label": torch.arange(n) % 4,
            "sample_id": first_id + torch.randperm(n, generator=generator),
        }
    )


def context(folder=None):
    return Context(folder, 0, torch.device("cpu"))


@pytest.mark.parametrize("folder", [False, True])
def test_rows_follow_sample_ids_through_any_order(tmp_path, folder):
    source, teacher = data(first_id=100), Role(network(), "frozen")
    bank = Bank(teacher, source, batch_size=7)
    bank(context(tmp_path if folder else None))
    batch = source.gather(np.random.default_rng(0).permutation(50)[:20], 0)
    torch.testing.assert_close(bank.signals(batch).logits_NC, teacher.signals(batch).logits_NC)


def test_top_k_keeps_the_largest_probabilities():
    source, teacher = data(), Role(network(), "frozen")
    bank = Bank(teacher, source, top_k=2)
    bank(context())
    batch = source.gather(np.arange(50), 0)
    probs, index = teacher.signals(batch).logits_NC.softmax(1).topk(2)
    found = bank.signals(batch)
    torch.testing.assert_close(found.probs_NK, probs)
    assert torch.equal(found.index_NK, index)


def test_a_bank_in_a_folder_is_mapped_and_read_again_without_the_teacher(tmp_path):
    source, teacher = data(), Role(network(), "frozen")
    Bank(teacher, source, folder=tmp_path / "bank")(context())
    teacher.signals = None  # whoever asks the teacher now fails
    again = Bank(teacher, source, folder=tmp_path / "bank")
    again(context())
    assert isinstance(again._columns["logits"], np.memmap)
    assert again.signals(source.gather(np.arange(5), 0)).logits_NC.shape == (5, 4)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"teacher": network(1)}, "teacher"),
        ({"source": data(seed=1)}, "data"),
        ({"source": data(n=51)}, "data"),
        ({"epoch": 3}, "choice"),
        ({"top_k": 1}, "choice"),
    ],
)
def test_a_bank_of_something_else_is_refused(tmp_path, other, word):
    Bank(Role(network(), "frozen"), data(), folder=tmp_path / "bank")(context())
    teacher, source = Role(other.pop("teacher", network()), "frozen"), other.pop("source", data())
    with pytest.raises(ValueError, match=f"another .*{word}.*remove that folder"):
        Bank(teacher, source, folder=tmp_path / "bank", **other)(context())


def test_a_sample_that_is_not_in_the_bank_is_an_error():
    bank = Bank(Role(network(), "frozen"), data())
    bank(context())
    with pytest.raises(ValueError, match=r"nothing for the samples \[10"):
        bank.signals(data(first_id=1000).gather(np.arange(3), 0))


def test_repeated_sample_ids_are_an_error():
    twice = TensorData({"input": torch.zeros(2, 3), "sample_id": torch.zeros(2, dtype=torch.int64)})
    with pytest.raises(ValueError, match="repeat"):
        Bank(Role(network(), "frozen"), twice)(context())


def test_class_means_are_the_means_and_need_every_class():
    values, label = torch.randn(40, 5, dtype=torch.float64), torch.arange(40) % 4
    expected = torch.stack([values[label == c].mean(0) for c in range(4)])
    torch.testing.assert_close(class_means(values, label, 4), expected)
    with pytest.raises(ValueError, match=r"no item of the classes \[4\]"):
        class_means(values, label, 5)


def test_a_table_gives_each_item_the_row_of_its_class():
    source, teacher = data(), Role(network(), "frozen")
    everything = collect(teacher, source)
    table = Table(lambda _: {"mean": class_means(everything.logits_NC, everything.label_N, 4)})
    table(context())
    batch = source.gather(np.arange(9), 0)
    torch.testing.assert_close(table.signals(batch).mean_ND, table["mean"][batch.label_N])
    with pytest.raises(ValueError, match="did you mean 'mean'"):
        table["means"]


@pytest.mark.parametrize("kind", ["bank", "table"])
def test_a_resumed_run_reads_its_bank_instead_of_asking_the_teacher_again(tmp_path, kind):
    calls = []

    def recipe(student):
        teacher, source = Role(network(1), "frozen"), data()
        if kind == "bank":
            keep = Bank(teacher, source)
        else:

            def make(_):
                calls.append(1)
                everything = collect(teacher, source)
                return {"logits": class_means(everything.logits_NC, everything.label_N, 4)}

            keep = Table(make)

        def terms(batch, s, t):
            return {"kd": kl(s.logits_NC, t.logits_NC)}

        learning = fit(Player(Role(student), terms, given={"t": keep}), source, epochs=6, batch_size=10)
        return Recipe((keep, *learning.stages), student)

    class Stop(Exception):
        pass

    whole, cut = network(2), network(2)
    with RunFolder.open(tmp_path / "whole", {}, False) as run:
        Trainer(run, checkpoint_s=0, quiet=True).fit(recipe(whole))
    with pytest.raises(Stop), RunFolder.open(tmp_path / "cut", {}, False) as run:
        trainer = Trainer(run, checkpoint_s=0, quiet=True)
        save, saved = trainer._save_if_due, []

        def stop_after_three(*arguments):
            save(*arguments)
            saved.append(1)
            if len(saved) == 3:
                raise Stop

        trainer._save_if_due = stop_after_three
        trainer.fit(recipe(cut))
    asked = len(calls)
    with RunFolder.open(tmp_path / "cut", {}, True) as run:
        resumed = network(5)
        Trainer(run, checkpoint_s=0, quiet=True).fit(recipe(resumed))
    assert torch.equal(resumed.weight, whole.weight) and len(calls) == asked
