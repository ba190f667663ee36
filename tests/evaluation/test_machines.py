"""Where cells are made is said in one word; a wrong one, or a cluster that is not there, is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embodkd.evaluation.tables.held import Busy, held
from embodkd.evaluation.tables.machines import machines
from embodkd.evaluation.tables.packed import check_travels, pack, unpack


@pytest.mark.parametrize("word", ["rayy", "ray:", "2", "dask://head", ""])
def test_a_word_that_is_no_cluster_is_refused_with_those_that_are(word) -> None:
    with (
        pytest.raises(ValueError, match="neither a number nor ray, ray:auto, ray:HOST:PORT or ray://HOST:PORT"),
        machines(word, ThreadPoolExecutor),
    ):
        pass


def test_without_ray_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    before = dict(os.environ)
    with pytest.raises(ImportError, match=r"pip install 'embodkd\[ray\]'"), machines("ray", ThreadPoolExecutor):
        pass
    assert dict(os.environ) == before


def test_a_number_is_so_many_at_a_time_of_the_pool_that_is_given() -> None:
    with machines(3, ThreadPoolExecutor) as (pool, width):
        assert isinstance(pool, ThreadPoolExecutor) and width() == 3


def test_one_holds_at_a_time_and_nothing_stays(tmp_path: Path) -> None:
    inside, most = [], []

    def work() -> None:
        for _ in range(20):
            with held(tmp_path / "cell"):
                inside.append(None)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80 and max(most) == 1 and not [*tmp_path.iterdir()]


def test_whoever_inherits_a_lock_holds_it_when_the_one_who_took_it_is_gone(tmp_path: Path) -> None:
    with held(tmp_path / "cell") as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
        file = (tmp_path / "cell.lock").rename(tmp_path / "kept")
    # as SIGKILL leaves it: the file is there, and only the child has it open
    file.rename(tmp_path / "cell.lock")
    with pytest.raises(Busy, match="another process"), held(tmp_path / "cell", 0.2):
        pass
    child.communicate(b"\n")
    with held(tmp_path / "cell", 5):
        pass


def test_what_travels_arrives_as_it_was_but_for_the_lock_of_its_run(tmp_path: Path) -> None:
    run = tmp_path / "here/runs/a"
    (run / "policy").mkdir(parents=True)
    (run / "policy/model").write_bytes(bytes(range(256)))
    (run / ".lock").write_text("1")
    (tmp_path / "here/runs/a.mark.json").write_text("{}")
    there = tmp_path / "there"
    (there / "runs/a/old").mkdir(parents=True)
    unpack(pack([Path("runs/a"), Path("runs/a.mark.json")], tmp_path / "here"), there)
    found = {str(file.relative_to(there)): file.read_bytes() for file in there.rglob("*") if file.is_file()}
    assert found == {"runs/a/policy/model": bytes(range(256)), "runs/a.mark.json": b"{}"}
    assert not (there / "runs/a/old").exists()


@pytest.mark.parametrize("path", ["/elsewhere/a", "../a"])
def test_a_folder_that_means_another_place_elsewhere_does_not_travel(path) -> None:
    with pytest.raises(ValueError, match="must be a relative one below"):
        check_travels([Path(path)], Path.cwd())
