"""Rows of files that are mapped are those that were written, and little more than a batch is ever in memory."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Mapped, Ragged, Stage, TensorData, bucketed, shuffled, write_mapped
from embodkd.core.batch.pieces import shares
from embodkd.core.engine.position import Position, batches
from embodkd.core.sources.prefetch import ahead

RNG = np.random.default_rng(0)
SIZE = 60
FIXED = {
    "image": RNG.integers(0, 256, (SIZE, 3, 4), dtype=np.uint8),
    "class": RNG.integers(0, 9, SIZE).astype(np.int16),
    "score": RNG.normal(size=(SIZE, 2)).astype(np.float32),
}
TOKENS = [RNG.integers(0, 60_000, n).astype(np.uint16) for n in RNG.integers(0, 20, SIZE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mapped") / "data"
    write_mapped(path, {**FIXED, "tokens": TOKENS})
    return path


@given(st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=9))
def test_a_batch_is_that_of_the_same_data_in_memory(folder, index):
    batch = Mapped(folder, ragged={"padding": {"tokens": 65_535}}).gather(np.array(index), 0)
    memory = TensorData(FIXED).gather(np.array(index), 0)
    ragged = Ragged({"tokens": TOKENS}, padding={"tokens": 65_535}).gather(np.array(index), 0)
    assert set(batch) == {"image", "class", "score", "sample_id", "tokens", "tokens_mask"}
    for name, value in {**memory, **ragged}.items():
        assert torch.equal(batch[name], value.long() if name == "class" else value)
    assert batch["image"].dtype == torch.uint8 and batch["class"].dtype == torch.int64


def test_what_was_gathered_stays_when_pages_are_given_back(folder, monkeypatch):
    monkeypatch.setattr("embodkd.core.sources.mapped._HELD", 1)
    source = Mapped(folder)
    first = source.gather(np.arange(SIZE), 0)
    source.gather(np.arange(5), 0)
    assert (first["image"].numpy() == FIXED["image"]).all() and (first["score"].numpy() == FIXED["score"]).all()


@pytest.mark.parametrize("bucket", [0, 3])
def test_any_number_of_workers_and_a_run_resumed_in_the_middle_see_the_same_batches(folder, bucket):
    stage = Stage((object(),), Mapped(folder, ragged={"bucket": bucket, "pad_to": "source"}), batch_size=8)

    def seen(done, workers, prefetch):
        order = batches(stage, Position(round=1, done=done), 3, 1, lambda: None)
        found = []
        for index, _ in ahead(order, prefetch):
            whole = {}
            for worker in range(workers):
                for own, portion in shares(index, worker, workers):
                    part = Mapped(folder, ragged={"pad_to": "source"}).gather(own, 0)
                    places = range(len(index)) if portion is None else portion.place_N.tolist()
                    for k, place in enumerate(places):
                        whole[place] = {name: value[k] for name, value in part.items()}
            found.append([whole[place] for place in range(len(index))])
        return found

    expected = seen(0, 1, 0)
    lengths = np.array([len(t) for t in TOKENS])
    order = bucketed(lengths, 8, 3, 0, 1, 0, pool=3) if bucket else shuffled(SIZE, 8, 3, 0, 1, 0)
    ids = [[int(item["sample_id"]) for item in batch] for batch in expected]
    assert ids == [index.tolist() for index in order]
    for done, workers, prefetch in [(0, 3, 2), (5, 1, 0), (5, 2, 1)]:
        for mine, theirs in zip(seen(done, workers, prefetch), expected[done:], strict=True):
            for a, b in zip(mine, theirs, strict=True):
                assert all(torch.equal(a[name], b[name]) for name in a)


MEMORY = """
import resource, sys
from itertools import islice
import numpy as np
from embodkd.core import Mapped, shuffled

source = Mapped(sys.argv[1])
before = None
for index in islice(shuffled(source.size(), 64, 0), 150):
    batch = source.gather(index, 0)
    if before is None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del batch
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_rows_from_all_over_a_file_of_a_gigabyte_take_a_few_megabytes(tmp_path):
    rows = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (1 << 16, 4096))
    assert rows.nbytes == 1 << 30
    rows[-1] = 1.0  # the file is sparse: what was never written takes no place on the disk
    del rows
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 12 * 1024, f"{int(done.stdout) / 1024:.1f} MB beyond the first batch"


def test_sequences_are_written_one_by_one(tmp_path):
    class Lazy:
        def __len__(self):
            return 5

        def __getitem__(self, k):
            if k >= 5:
                raise IndexError
            return np.full((k, 2), k, np.int8)

    write_mapped(tmp_path / "data", {"x": Lazy()})
    batch = Mapped(tmp_path / "data").gather(np.array([4, 0, 2]), 0)
    assert batch["x"].shape == (3, 4, 2) and batch["x_mask"].sum(1).tolist() == [4, 0, 2]
    assert batch["x"][0].eq(4).all()


def test_mistakes_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="data: no array images; it has class, image, score, tokens, tokens.offsets"):
        Mapped(folder, names=["images"])
    with pytest.raises(ValueError, match="no array at all"):
        Mapped(tmp_path)
    with pytest.raises(ValueError, match=r"one number of rows, at least 1; got {'a': 2, 'b': 3}"):
        write_mapped(tmp_path / "new", {"a": np.zeros(2), "b": np.zeros(3)})
    assert not (tmp_path / "new").exists()
    write_mapped(tmp_path / "one", {"a": np.zeros(2), "b": [np.zeros(3), np.zeros(1)]})
    write_mapped(tmp_path / "two", {"a": np.zeros(3), "b": [np.zeros(3), np.zeros(2), np.zeros(5)]})
    (tmp_path / "two" / "a.npy").rename(tmp_path / "one" / "a.npy")
    with pytest.raises(ValueError, match=r"one: its arrays need one number of rows.*'a': 3, 'b': 2"):
        Mapped(tmp_path / "one")
    (tmp_path / "two" / "b.npy").rename(tmp_path / "one" / "b.npy")
    with pytest.raises(ValueError, match="b.npy has 10 rows, and its offsets go from 0 to 4"):
        Mapped(tmp_path / "one", names=["b"])
    file = tmp_path / "one" / "a.npy"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"a.npy: no array \(.*\); restore it"):
        Mapped(tmp_path / "one", names=["a"])
