"""A bank answers as the live teacher would, for the right samples, from the right teacher, without loading itself."""

import json
import threading

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
    Signals,
    Table,
    Tap,
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


def data(n=50, first_id=0, seed=0, replay=None, draws=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorData(
        {
            "other": torch.randn(n, 3, generator=torch.Generator().manual_seed(seed + 1)),
            "input": torch.randn(n, 3, generator=generator),
            "label": torch.arange(n) % 4,
            "sample_id": first_id + torch.randperm(n, generator=generator),
        },
        replay=replay,
        seed=draws,
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
    assert isinstance(again._stores[0]._files["logits"], np.memmap)
    assert again.signals(source.gather(np.arange(5), 0)).logits_NC.shape == (5, 4)


class Net(nn.Module):
    """A network whose activation is a function of its module, an attribute, or what it was made with."""

    def __init__(self, activate=torch.relu, slope=0.5, seed=0, act=None):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last, self.drop = nn.Linear(3, 4), nn.Linear(4, 4), nn.Dropout(0.5)
        self.activate, self.slope = activate, slope
        self.act = nn.ReLU() if act is None else act

    def forward(self, x):
        return self.last(self.drop(self.act(self.activate(self.first(x)) * self.slope)))


class Turned(Net):
    def forward(self, x):
        return -super().forward(x)


class Cast(Net):
    def forward(self, x):
        return super().forward(x.to(self.last.weight.dtype))


class Difference:
    """An answerer that is no role."""

    def __init__(self, a, b, scale=1.0):
        self.a, self.b, self.scale = a, b, scale

    def signals(self, batch):
        apart = self.a.signals(batch)["logits"] - self.b.signals(batch)["logits"]
        return Signals({"logits": self.scale * apart})


def frozen(model=None, **options):
    return Role(Net() if model is None else model, "frozen", **options)


def times(factor):
    return lambda x: x * factor


def scaled(factor):
    return lambda batch: batch["input"] * factor


def changed_row(field, row=90):
    source = data(100)
    fields = {name: value.clone() for name, value in source.fields.items()}
    fields[field][row] = fields[field][row] + (1 if field != "sample_id" else 1000)
    return TensorData(fields)


def narrow(field):
    return TensorData({n: v.to(torch.int32) if n == field else v for n, v in data(100).fields.items()})


def moved(model=None):
    model = model or Net()
    with torch.no_grad():
        model.last.bias[-1] += 1e-7
    return model


def with_hook(model):
    model.last.register_forward_hook(lambda module, args, output: output + 1)
    return model


FEATURE = {"taps": {"feature": "first"}, "names": ("logits", "feature")}
# Two banks that differ in one thing, and the word by which the second one is refused.
APART = {
    "weights": ({}, {"model": moved()}, "teacher's weights"),
    "type": ({"model": Cast()}, {"model": Cast().double()}, "teacher's weights and another teacher's architecture"),
    "activation": ({}, {"model": Net(torch.tanh)}, "teacher's architecture"),
    "layer": ({}, {"model": Net(act=nn.GELU())}, "teacher's architecture"),
    "constant": ({}, {"model": Net(slope=0.6)}, "teacher's architecture"),
    "forward": ({}, {"model": Turned()}, "teacher's architecture"),
    "closure": ({"model": Net(times(2))}, {"model": Net(times(3))}, "teacher's architecture"),
    "hook": ({}, {"model": with_hook(Net())}, "teacher's architecture"),
    "temperature": ({}, {"temperature": 4.0}, "teacher's temperature"),
    "view": ({}, {"view": "other"}, "teacher's view"),
    "view's constant": ({"view": scaled(2)}, {"view": scaled(3)}, "teacher's view"),
    "output": ({"names": ()}, {"names": (), "output": "action"}, "teacher's output"),
    "tap": (FEATURE, {**FEATURE, "taps": {"feature": "last"}}, "teacher's taps"),
    "tap's end": (FEATURE, {**FEATURE, "taps": {"feature": Tap("last", input=True)}}, "teacher's taps"),
    "mode": ({"part": "train", "mode": "eval"}, {"part": "train"}, "teacher's mode"),
    "late row": ({}, {"source": changed_row("input")}, "data"),
    "late label": ({}, {"source": changed_row("label")}, "data"),
    "late id": ({}, {"source": changed_row("sample_id", row=99)}, "data"),
    "length": ({}, {"source": data(101)}, "data"),
    "dtype": ({}, {"source": narrow("label")}, "data"),
    "seed": (
        {"source": data(100, replay="seed")},
        {"source": data(100, replay="seed", draws=1)},
        "data",
    ),
    "top_k": ({}, {"top_k": 1}, "choice"),
    "names": (FEATURE, {**FEATURE, "names": ("logits",)}, "choice"),
    "kind of answerer": ({}, {"answerer": Difference(frozen(), frozen(moved()))}, "answerer and another teacher's .*"),
    "a part of it": (
        {"answerer": Difference(frozen(), frozen(moved()))},
        {"answerer": Difference(frozen(), frozen(moved(moved())))},
        "answerer",
    ),
    "a number of it": (
        {"answerer": Difference(frozen(), frozen(moved()))},
        {"answerer": Difference(frozen(), frozen(moved()), 2.0)},
        "answerer",
    ),
    "a bank in it": (
        {"answerer": Difference(frozen(), Bank(frozen(), data(100)))},
        {"answerer": Difference(frozen(), Bank(frozen(temperature=2.0), data(100)))},
        "answerer",
    ),
}


def bank(folder, source=None, names=("logits",), epoch=0, top_k=None, answerer=None, model=None, part="frozen", **role):
    source = data(100) if source is None else source
    answerer = Role(Net() if model is None else model, part, **role) if answerer is None else answerer
    if isinstance(answerer, Difference) and isinstance(answerer.b, Bank):
        answerer.b(context())
    return Bank(answerer, source, names=names, epoch=epoch, top_k=top_k, batch_size=32, folder=folder)


@pytest.mark.parametrize("what", APART)
def test_a_bank_that_differs_in_one_thing_is_refused(tmp_path, what):
    one, other, word = APART[what]
    bank(tmp_path / "bank", **one)(context())
    bank(tmp_path / "bank", **one)(context())
    with pytest.raises(ValueError, match=f"was made with another {word}; remove that folder"):
        bank(tmp_path / "bank", **other)(context())
    # and the other way round, so that neither is a part of the other
    bank(tmp_path / "second", **other)(context())
    with pytest.raises(ValueError, match="was made with another"):
        bank(tmp_path / "second", **one)(context())


def test_what_makes_no_difference_to_the_rows_is_no_difference(tmp_path):
    bank(tmp_path / "bank")(context())
    used = Net().train()
    Role(used, "frozen").signals(data().gather(np.arange(4), 0))
    for same in ({"model": used}, {"model": Net().eval()}, {"part": "snapshot"}, {"temperature": 1}):
        bank(tmp_path / "bank", **same)(context())
    Bank(frozen(), data(100), batch_size=7, folder=tmp_path / "bank")(context())


@pytest.mark.parametrize(("format", "version"), [(None, "an earlier"), (1, "an earlier"), (99, "a later")])
def test_a_bank_of_another_version_is_refused_with_what_to_do(tmp_path, format, version):
    bank(tmp_path / "bank")(context())
    file = tmp_path / "bank" / "pass_0" / "bank.json"
    facts = json.loads(file.read_text())
    facts.pop("format")
    file.write_text(json.dumps(facts if format is None else {**facts, "format": format}))
    with pytest.raises(ValueError, match=f"is of {version} version.*remove that folder"):
        bank(tmp_path / "bank")(context())
    assert file.exists()


def test_a_bank_of_the_version_that_had_one_pass_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "bank").mkdir()
    file = tmp_path / "bank" / "bank.json"
    file.write_text(json.dumps({"format": 2, "fingerprint": {}, "columns": ["logits", "sample_id"]}))
    for use in (lambda b: b(context()), lambda b: b.read(tmp_path / "bank")):
        with pytest.raises(ValueError, match="is of an earlier version.*remove that folder"):
            use(bank(tmp_path / "bank"))
    assert file.exists() and not (tmp_path / "bank" / "pass_0").exists()


def test_passes_lie_side_by_side_and_none_is_taken_for_another(tmp_path):
    drawn = {"source": data(100, replay="seed"), "names": ("logits", "seed")}
    bank(tmp_path / "bank", **drawn)(context())
    later = bank(tmp_path / "bank", **drawn, epoch=3)
    later(context())
    batch = drawn["source"].gather(np.arange(100), 3)
    assert torch.equal(later.signals(batch).seed_N, batch["seed"])
    assert sorted(p.name for p in (tmp_path / "bank").iterdir()) == ["pass_0", "pass_3"]
    # a pass under the name of another one
    (tmp_path / "bank" / "pass_3").rename(tmp_path / "bank" / "pass_4")
    with pytest.raises(ValueError, match="was made with another data and another pass; remove that folder"):
        bank(tmp_path / "bank", **drawn, epoch=4)(context())


def test_another_teacher_may_not_put_its_passes_beside_those_of_the_first(tmp_path):
    bank(tmp_path / "bank")(context())
    for other, word in (({"model": moved()}, "teacher's weights"), ({"top_k": 1}, "choice")):
        with pytest.raises(ValueError, match=f"was made with another {word}; remove that folder"):
            bank(tmp_path / "bank", **other, epoch=1)(context())


def test_an_answerer_that_cannot_be_told_from_another_is_refused_before_it_answers(tmp_path):
    class Remote:
        def __init__(self):
            self.line = threading.Lock()

        def signals(self, batch):
            raise AssertionError("asked")

    with pytest.raises(ValueError, match=r"its answerer, a Remote.line: a lock cannot be told .* method fingerprint"):
        Bank(Remote(), data(), folder=tmp_path / "bank")(context())
    assert not (tmp_path / "bank").exists()
    Remote.fingerprint = lambda self: {"model": "v3"}
    with pytest.raises(AssertionError, match="asked"):
        Bank(Remote(), data(), folder=tmp_path / "bank")(context())


def test_a_table_is_known_by_its_rows():
    tables = [Table(lambda _, k=k: {"mean": torch.arange(4.0) + k}) for k in (0, 0, 1)]
    with pytest.raises(ValueError, match="is empty"):
        tables[0].fingerprint()
    for table in tables:
        table(context())
    first, second, third = (table.fingerprint() for table in tables)
    assert first == second != third


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
