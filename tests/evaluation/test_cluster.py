"""Tables whose cells are tasks of a Ray cluster: the same bytes as here, whatever is killed, frozen or not shared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_table import numbers

from embodkd.cli.compose import resolved
from embodkd.core.runs.reading import read_json
from embodkd.evaluation.chains import read_chains
from embodkd.evaluation.tables import cluster as cluster_module
from embodkd.evaluation.tables.cluster import Cluster
from embodkd.evaluation.tables.fill import fill
from embodkd.evaluation.tables.held import held
from embodkd.evaluation.tables.rows import Rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # of Ray's own: on what it will do with graphics cards, and what it leaves to the collector
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    """One cluster of this machine for all tests, joined by every `jobs=ray`."""
    if find_spec("ray") is None:  # not imported: it reads its settings when it is
        pytest.skip("Ray is not installed: pip install 'embodkd[ray]'")
    with cluster_module._joined("local"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_module, "_joined", lambda address: nullcontext())
        yield


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machines of the cluster see no folder of this one."""
    monkeypatch.setattr(Cluster, "_token", lambda self, place: tmp_path / "nobody has it")


def products(run: Path) -> dict[str, bytes]:
    return {str(file.relative_to(run)): file.read_bytes() for file in run.rglob("product/model.safetensors")}


def workers() -> list[int]:
    """The processes that carry out cells: of this process's descendants those that Ray calls by the task's name."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(place.name)] = (place / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and parents[pid] > 1 and ours(parents[pid]))

    return [pid for pid, name in names.items() if name.startswith("ray::_there") and ours(pid)]


def when(seen, do, limit_s: float = 60) -> threading.Thread:
    """A thread that calls `do` as soon as `seen()` gives something, with that."""

    def watch() -> None:
        until = time.monotonic() + limit_s
        while not (found := seen()):
            assert time.monotonic() < until
            time.sleep(0.02)
        do(found)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def long_teacher(content) -> None:
    """Of so many epochs that it can be killed between two checkpoints of it."""
    content["teachers"]["teacher"]["budget"] = {"epochs": 2500, "updates": None, "batch_size": 30}
    content["trainer"] = {"checkpoint_s": 0.2}
    content["seeds"] = [0]


def endless_teacher(content) -> None:
    long_teacher(content)
    content["teachers"]["teacher"]["budget"]["epochs"] = 10**6


def test_products_of_a_cluster_are_those_of_one_process_to_the_byte(table, tmp_path) -> None:
    alone, _ = table(run="one")
    beside, _ = table(run="two", jobs="ray")
    assert numbers(alone) == numbers(beside) and products(tmp_path / "one") == products(tmp_path / "two")
    assert len(products(tmp_path / "two")) == 6 and not [*(tmp_path / "two").rglob(".seen*")]


def test_a_cell_whose_worker_is_killed_goes_on_from_its_checkpoint_to_the_same_bytes(table, tmp_path) -> None:
    table(long_teacher, run="whole")
    cell = tmp_path / "killed/seed_0/teachers/teacher"

    def begun() -> list[int]:
        return workers() if len([*cell.glob("checkpoints/step_*")]) > 1 else []

    killer = when(begun, lambda pids: os.kill(pids[0], signal.SIGKILL))
    table(long_teacher, run="killed", jobs="ray")
    killer.join()
    assert read_json(cell / "manifest.json")["resumed"]
    assert products(tmp_path / "whole") == products(tmp_path / "killed")


def test_without_a_shared_folder_what_is_finished_travels_back_and_a_teacher_to_who_needs_it(
    table, apart, tmp_path, monkeypatch
) -> None:
    alone, _ = table(run="one")
    asked: list[str] = []
    ask = Cluster._ask

    def noted(self, work, item, sends):
        asked.append(f"{item[0].name}/{item[1]}/{sends}")
        return ask(self, work, item, sends)

    monkeypatch.setattr(Cluster, "_ask", noted)
    beside, _ = table(run="two", jobs="ray")
    assert numbers(alone) == numbers(beside) and products(tmp_path / "one") == products(tmp_path / "two")
    carried_out = [cell for cell in asked if cell.endswith("True")]
    assert len(carried_out) == len(set(carried_out)) == 6
    assert not [*(tmp_path / "two").glob("seed_*/*/*/.lock")], "no lock of another machine came along"


@pytest.mark.faults
def test_without_a_shared_folder_a_killed_worker_costs_its_own_cell_alone(table, apart, tmp_path) -> None:
    table(long_teacher, run="whole")
    begun = time.monotonic()
    killer = when(
        lambda: workers() if time.monotonic() > begun + 4 else [], lambda pids: os.kill(pids[0], signal.SIGKILL)
    )
    table(long_teacher, run="killed", jobs="ray")
    killer.join()
    assert products(tmp_path / "whole") == products(tmp_path / "killed")


def test_a_cell_in_the_hands_of_a_frozen_process_is_made_elsewhere(table, tmp_path, monkeypatch) -> None:
    table(run="whole", seeds=[0])
    monkeypatch.setattr(Cluster.__init__, "__defaults__", (0.5,))
    with held(tmp_path / "frozen/seed_0/teachers/teacher"):
        table(run="frozen", seeds=[0], jobs="ray")
    assert products(tmp_path / "whole") == products(tmp_path / "frozen")


@pytest.mark.parametrize("shared", [True, False])
def test_a_cell_that_fails_on_a_cluster_says_what_it_says_here(table, shared, request) -> None:
    if not shared:
        request.getfixturevalue("apart")

    def change(content) -> None:
        content["arms"]["alone"]["budget"] = {"optimiser": {"name": "sgd", "learning_rate": 1e30}}

    said = []
    for jobs in (2, "ray"):
        with pytest.raises(FloatingPointError, match="not finite") as caught:
            table(change, jobs=jobs, seeds=[0], arms=["alone"])
        said.append(caught.value.__notes__)
    assert said[0] == said[1]


def test_a_worker_that_is_killed_again_and_again_is_said_as_one_of_this_machine_is(table, monkeypatch) -> None:
    killing = threading.Event()

    def kill() -> None:
        while not killing.wait(0.02):
            for pid in workers():
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(ValueError, match="was killed: is there enough memory"):
            table(jobs="ray", seeds=[0], arms=["alone"])
    finally:
        killing.set()
        thread.join()


def test_whoever_stops_a_filling_stops_its_cells_and_a_second_call_goes_on(table, tmp_path) -> None:
    cell = tmp_path / "run/seed_0/teachers/teacher"
    stopper = when(lambda: [*cell.glob("checkpoints/step_*")], lambda seen: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        table(endless_teacher, run="run", jobs="ray")
    stopper.join()
    assert not (cell / "cell.json").exists()
    with held(cell, 10):  # nobody is at it any more
        pass


CHAIN = """
slug: toy
tables:
  main:
    grid: {seed: [0]}
    cells:
      teacher: {command: "train teacher task=peg_hole steps=1024 ppo.num_envs=32 ppo.minibatch=256 evaluate_episodes=4\
        episodes=4 torch_threads=1 seed={seed} run={run}"}
      student:
        after: [teacher]
        command: "distill student teacher={teacher} student=blind num_envs=4 method.rounds=1 method.steps=6 episodes=4\
          torch_threads=1 seed={seed} run={run}"
        row: {policy: student}
      lost: {command: "evaluate policy=nowhere out={run}/evaluation.json", row: {policy: none}}
"""


@pytest.mark.faults
def test_chains_come_to_the_same_with_and_without_a_shared_folder(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(CHAIN)
    found = []
    for jobs, shared in ((1, True), ("ray", True), ("ray", False)):
        place = Path(f"{jobs}_{shared}")
        cells = read_chains("toy.yaml", place)
        with monkeypatch.context() as patch:
            if not shared:
                patch.setattr(Cluster, "_token", lambda self, place: tmp_path / "nobody has it")
            failed = fill(cells, Rows(place / "toy.json", "toy", cells), resolved, jobs=jobs)
        assert "failed:\nembodkd: nowhere: no such policy folder" in capsys.readouterr().err
        policies = [(place / f"0/{name}/policy/model.safetensors").read_bytes() for name in ("teacher", "student")]
        (row,) = Rows(place / "toy.json", "toy").by_cell().values()
        found.append((failed, policies, row["mark"], row["success_rate"], row["failures"]))
        assert read_json(place / "0/student.mark.json")["finished"] and not [*place.rglob("?*.lock")]
        assert not [file for file in place.rglob("*") if file.name.startswith(".seen")]
    assert found[0] == found[1] == found[2]
    assert found[0][0] == 1


def test_rows_of_two_drivers_are_all_there(tmp_path) -> None:
    """Forty rows by two processes that know nothing of each other."""
    script = (
        "import sys; from embodkd.evaluation.tables.rows import Rows\n"
        "row = {'setting': [], 'command': '', 'success_rate': 1.0, 'successes': 1, 'episodes': 1}\n"
        "for k in range(20): Rows(sys.argv[1], 'toy').put('main', {'cell': f'{sys.argv[2]}/{k}', **row})"
    )
    file = tmp_path / "toy.json"
    both = [subprocess.Popen([sys.executable, "-c", script, str(file), name]) for name in "ab"]
    assert [one.wait() for one in both] == [0, 0]
    assert len(Rows(file, "toy").by_cell()) == 40 and [*tmp_path.iterdir()] == [file]
