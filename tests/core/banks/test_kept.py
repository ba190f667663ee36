"""What a bank gives back is what its answerer says, in its own type, of what was asked for, in the bytes promised."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from embodkd.core import Bank, Context, Role, Signals, TensorData
from embodkd.core.runs.digests import SUFFIX
from embodkd.core.sources.seeded import Seeded
from embodkd.core.sources.source import Source

N, C = 40, 6
CONTEXT = Context(None, 0, torch.device("cpu"))


def coarse(values):
    """In whole 64ths: sums of products are exact, on every processor and in batches of any size."""
    return (64 * values).round() / 64


def items(n=N, width=3):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(n, width, generator=generator)
    return TensorData({"input": coarse(drawn), "sample_id": 7 + torch.randperm(n)})


def network(width=3, classes=C, seed=0):
    torch.manual_seed(seed)
    made = nn.Linear(width, classes)
    with torch.no_grad():
        for values in made.parameters():
            values.copy_(coarse(values))
    return Role(made, "frozen")


class Typed:
    """Answers in a type of its own."""

    def __init__(self, role, dtype):
        self.role, self.dtype = role, dtype

    def fingerprint(self):
        return {"dtype": str(self.dtype), **self.role.fingerprint()}

    def signals(self, batch):
        return Signals({"logits": (10 * self.role.signals(batch)["logits"]).to(self.dtype)})


class Sentences(Source):
    """Items of different length, padded to the longest of their batch, from the left or the right."""

    def __init__(self, lengths, left=False, width=3):
        generator = torch.Generator().manual_seed(0)
        self.rows = [torch.randn(length, width, generator=generator) for length in lengths]
        self.left, self.ids = left, torch.arange(len(lengths)) * 3

    def size(self):
        return len(self.rows)

    def gather(self, index, epoch):
        chosen = [self.rows[k] for k in index]
        longest = max(map(len, chosen))
        batch, mask = torch.full((len(index), longest, 3), 9.0), torch.zeros(len(index), longest, dtype=torch.bool)
        for k, rows in enumerate(chosen):
            where = slice(longest - len(rows), longest) if self.left else slice(0, len(rows))
            batch[k, where], mask[k, where] = rows, True
        return Signals(input=batch, mask=mask, sample_id=self.ids[torch.from_numpy(index)])


def batches(source, sizes=(1, 3, 17), seed=0):
    """Shuffled batches of several sizes."""
    for size in sizes:
        yield source.gather(np.random.default_rng(seed).permutation(source.size())[:size], 0)


def both(tmp_path, answerer, source, **options):
    """The bank in memory and on disk, filled by another batch size."""
    for folder, size in ((None, 16), (tmp_path / "bank", 7)):
        bank = Bank(answerer, source, folder=folder, batch_size=size, **options)
        bank(CONTEXT)
        yield bank
    yield again(bank)


def again(bank):
    """The same bank, read from its folder."""
    found = Bank(bank.answerer, bank.source, names=bank.choice.names, lengths=bank.choice.lengths, folder=bank._folder)
    found.choice = bank.choice
    found.read(bank._folder)
    return found


TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.int64]


@pytest.mark.parametrize("dtype", [*TYPES, torch.bool])
def test_every_type_comes_back_bit_for_bit(tmp_path, dtype):
    source, teacher = items(), Typed(network(), dtype)
    for bank in both(tmp_path, teacher, source):
        for batch in batches(source):
            live, kept = teacher.signals(batch)["logits"], bank.signals(batch)["logits"]
            assert kept.dtype is dtype and torch.equal(kept.view(torch.uint8), live.view(torch.uint8))
    file = tmp_path / "bank" / "pass_0" / "logits.npy"
    assert file.stat().st_size == 128 + N * C * dtype.itemsize and np.load(file).shape == (N, C)
    assert file.with_name(file.name + SUFFIX).exists()


@pytest.mark.parametrize("values", ["float32", "float16"])
@pytest.mark.parametrize(("classes", "dtype"), [(6, np.uint8), (256, np.uint8), (257, np.uint16), (70_000, np.uint32)])
def test_the_largest_probabilities_lie_in_records_without_gaps(tmp_path, values, classes, dtype):
    source, teacher, k = items(9), network(classes=classes), 5
    for bank in both(tmp_path, teacher, source, top_k=k, values=values):
        for batch in batches(source, (2, 9)):
            probs, index = teacher.signals(batch)["logits"].softmax(1).topk(k)
            found = bank.signals(batch)
            assert found["index"].dtype is torch.int64 and torch.equal(found["index"], index)
            assert found["probs"].dtype is getattr(torch, values)
            torch.testing.assert_close(found["probs"], probs.to(found["probs"].dtype), rtol=1e-6, atol=0)
    records = np.load(tmp_path / "bank" / "pass_0" / "records.npy")
    assert records.dtype["index"].base == dtype
    assert records.dtype.itemsize == k * (np.dtype(values).itemsize + np.dtype(dtype).itemsize)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_a_record_with_its_seed_has_4k_plus_4_bytes(tmp_path, k):
    source, teacher = Seeded(items(9)), network(classes=1000)
    bank = Bank(teacher, source, top_k=k, values="float16", replay="augment_seed", folder=tmp_path / "bank")
    bank(CONTEXT)
    file = tmp_path / "bank" / "pass_0" / "records.npy"
    records = np.load(file)
    assert records.dtype.itemsize == 4 * k + 4 and file.stat().st_size - 9 * (4 * k + 4) in (128, 192)
    assert sorted(p.name for p in file.parent.glob("*.npy")) == ["records.npy", "sample_id.npy"]
    batch = source.gather(np.arange(9)[::-1].copy(), 0)
    assert torch.equal(bank.signals(batch)["augment_seed"], batch["augment_seed"])


def test_double_precision_stays_double():
    source = TensorData({name: v.double() if name == "input" else v for name, v in items().fields.items()})
    teacher = Role(network().model.double(), "frozen")
    bank = Bank(teacher, source, top_k=2)
    bank(CONTEXT)
    (batch,) = batches(source, (N,))
    assert torch.equal(bank.signals(batch)["probs"], teacher.signals(batch)["logits"].softmax(1).topk(2).values)


def test_ids_of_any_size_and_sign():
    ids = torch.tensor([2**62, -5, 0, 17, -(2**60)])
    source = TensorData({"input": torch.randn(5, 3), "sample_id": ids})
    teacher = network()
    bank = Bank(teacher, source)
    bank(CONTEXT)
    for batch in batches(source, (1, 3, 5)):
        torch.testing.assert_close(bank.signals(batch)["logits"], teacher.signals(batch)["logits"])
    for absent in (2**62 + 1, 1, -6, -(2**61)):
        with pytest.raises(ValueError, match=rf"nothing for the samples \[{absent}\]"):
            bank.signals(Signals(sample_id=torch.tensor([17, absent])))


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=9), left=st.booleans(), seed=st.integers(0, 99))
def test_ragged_answers_are_the_live_ones_on_valid_positions_and_zero_elsewhere(tmp_path_factory, lengths, left, seed):
    source, teacher = Sentences([*lengths, 1], left), network()
    for bank in both(tmp_path_factory.mktemp("ragged"), teacher, source, lengths="mask"):
        for batch in batches(source, (1, 2, len(lengths) + 1), seed):
            live, kept = teacher.signals(batch)["logits"], bank.signals(batch)
            torch.testing.assert_close(kept["logits"], live * batch["mask"][..., None])
            assert torch.equal(kept["mask"], batch["mask"])
            # without a mask of its own, a batch gets the rows from the left
            bare = bank.signals(Signals(sample_id=batch["sample_id"]))
            assert (
                torch.equal(bare["mask"].sum(1), batch["mask"].sum(1))
                and not (~bare["mask"][:, :-1] & bare["mask"][:, 1:]).any()
            )
            assert torch.equal(bare["logits"][bare["mask"]], kept["logits"][batch["mask"]])


@pytest.mark.parametrize("lengths", [[5, 1, 3], [50, 1, 3], [0, 0, 0]])
def test_bytes_on_disk_grow_with_the_sum_of_the_lengths(tmp_path, lengths):
    bank = Bank(network(), Sentences(lengths), lengths="mask", top_k=2, values="float16", folder=tmp_path)
    bank(CONTEXT)
    records = np.load(tmp_path / "pass_0" / "records.mask.npy")
    assert records.nbytes == sum(lengths) * 2 * 3 and np.load(tmp_path / "pass_0" / "mask.offsets.npy").shape == (4,)
    found = bank.signals(Signals(sample_id=torch.tensor([6, 0])))
    assert found["probs"].shape == (2, max(lengths[2], lengths[0]), 2)


def test_the_largest_of_every_position_are_the_live_ones(tmp_path):
    source, teacher = Sentences([4, 1, 6, 2]), network()
    for bank in both(tmp_path, teacher, source, lengths={"logits": "mask"}, top_k=3):
        for batch in batches(source, (2, 4)):
            probs, index = teacher.signals(batch)["logits"].softmax(-1).topk(3)
            found, valid = bank.signals(batch), batch["mask"]
            torch.testing.assert_close(found["probs"][valid], probs[valid])
            assert torch.equal(found["index"][valid], index[valid]) and not found["index"][~valid].any()


def test_signals_of_the_item_lie_beside_those_of_its_positions(tmp_path):
    class Pooled:
        def __init__(self, role):
            self.role = role

        def signals(self, batch):
            logits, mask = self.role.signals(batch)["logits"], batch["mask"][..., None]
            return Signals(logits=logits, pooled=(logits * mask).sum(1))

    source, teacher = Sentences([4, 1, 6, 2]), Pooled(network())
    options = {"names": ("logits", "pooled"), "lengths": {"logits": "mask"}}
    for bank in both(tmp_path, teacher, source, **options):
        for batch in batches(source, (2, 4)):
            torch.testing.assert_close(bank.signals(batch)["pooled"], teacher.signals(batch)["pooled"])


def test_padding_does_not_make_another_bank_of_it_and_another_word_does(tmp_path):
    lengths = [3, 1, 6, 3, 2, 5]
    options = {"lengths": "mask", "folder": tmp_path / "bank"}
    for size in (6, 1, 2, 4):
        Bank(network(), Sentences(lengths), batch_size=size, **options)(CONTEXT)
    for change in ("word", "length", "fixed field"):
        other = Sentences(lengths)
        if change == "word":
            other.rows[4][1, 0] += 1
        elif change == "length":
            other.rows[4] = other.rows[4][:1]
        else:
            other.ids = other.ids + 1
        with pytest.raises(ValueError, match="made with another data;"):
            Bank(network(), other, batch_size=2, **options)(CONTEXT)


def test_a_mask_of_other_lengths_is_refused_by_its_sample():
    source = Sentences([3, 1, 2])
    bank = Bank(network(), source, lengths="mask")
    bank(CONTEXT)
    batch = source.gather(np.array([2, 0]), 0)
    batch["mask"][1, 2] = False
    with pytest.raises(ValueError, match="holds 3 positions of sample 0, and its mask has 2"):
        bank.signals(batch)


def test_items_of_different_length_without_a_word_about_it_are_refused(tmp_path):
    for folder in (None, tmp_path / "bank"):
        with pytest.raises(ValueError, match="name the mask of their positions by lengths="):
            Bank(network(), Sentences([3, 1, 2, 5]), batch_size=2, folder=folder)(CONTEXT)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_name_without_an_answerer_is_meant_of_each():
    bank = Bank({"a": network(), "b": network()}, items(), names=("logits", "b.feature"))
    assert bank.choice.names == ("a.logits", "b.logits", "b.feature")
    source, teachers = Sentences([4, 1, 6, 2]), {"a": network(seed=1), "b": network(seed=2)}
    for lengths in ("mask", {"logits": "mask"}, {"a.logits": "mask", "b.logits": "mask"}):
        bank = Bank(teachers, source, lengths=lengths)
        bank(CONTEXT)
        for batch in batches(source, (2, 4)):
            for name, teacher in teachers.items():
                live = teacher.signals(batch)["logits"] * batch["mask"][..., None]
                torch.testing.assert_close(bank.signals(batch)[f"{name}.logits"], live)


@pytest.mark.parametrize("top_k", [None, 2])
def test_several_answerers_in_one_bank_are_those_of_one_each(tmp_path, top_k):
    gathered = []

    class Counted(TensorData):
        def gather(self, index, epoch):
            gathered.extend(index)
            return super().gather(index, epoch)

    teachers = {"a": network(seed=1), "b": Role(network(seed=2).model.double(), "frozen")}
    source = Counted(dict(items().fields))
    bank = Bank(teachers, source, top_k=top_k, folder=tmp_path / "bank")
    bank(CONTEXT)
    assert sorted(gathered) == list(range(N))
    for name, teacher in teachers.items():
        alone = Bank(teacher, source, top_k=top_k)
        alone(CONTEXT)
        for batch in batches(source):
            expected = alone.signals(batch)
            for signal, value in expected.items():
                found = bank.signals(batch)[f"{name}.{signal}"]
                assert found.dtype is value.dtype and torch.equal(found, value)
    other = {**teachers, "b": network(seed=3)}
    with pytest.raises(ValueError, match="made with another b's weights"):
        Bank(other, source, top_k=top_k, folder=tmp_path / "bank")(CONTEXT)


def test_what_cannot_be_kept_is_refused():
    for options, said in (
        ({"top_k": 0}, "must be at least 1"),
        ({"top_k": 1, "names": ("feature",)}, "names must contain 'logits'"),
        ({"values": "float16"}, "signals keep their own type"),
        ({"top_k": 1, "values": "int4"}, "float32 or float16"),
        ({"lengths": {"feature": "mask"}}, "feature is not among the names"),
        ({"epochs": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=said):
            Bank(network(), items(), **options)
    with pytest.raises(ValueError, match="at least one answerer"):
        Bank({}, items())


def test_a_full_disk_leaves_nothing_half(tmp_path, monkeypatch):
    from embodkd.core.banks.rows import OnDisk

    append, done = OnDisk.append, []

    def full(self, rows):
        done.append(rows)
        if len(done) > 4:
            raise OSError(28, "No space left on device")
        append(self, rows)

    monkeypatch.setattr(OnDisk, "append", full)
    with pytest.raises(OSError, match="cannot write .*bank.*free some space"):
        Bank(network(), items(), batch_size=5, folder=tmp_path / "bank")(CONTEXT)
    assert not list((tmp_path / "bank").iterdir())


def test_a_bank_on_disk_is_never_in_memory_as_a_whole(tmp_path):
    source, teacher = items(2000), network(classes=4000)  # 32 MB
    bank = Bank(teacher, source, batch_size=20, folder=tmp_path / "bank")
    tracemalloc.start()
    try:
        bank(CONTEXT)
        for batch in batches(source, (100,)):
            torch.testing.assert_close(bank.signals(batch)["logits"], teacher.signals(batch)["logits"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "bank" / "pass_0" / "logits.npy").stat().st_size > 32e6 and peak < 6e6
