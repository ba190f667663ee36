"""Of several processes one owns what there is once, and together they do the work of one."""

import os

import numpy as np
import pytest

from embodkd.core import RunFolder
from embodkd.core.ranks import Ranks, alone, is_loss_of_a_rank, launch, may_report, ranks, without_launcher
from embodkd.core.runs.progress import progress


@pytest.fixture
def as_rank(monkeypatch):
    """`as_rank(1, 2)`: this process believes that it is rank 1 of 2, though there is no other."""

    def pretend(rank, size, **more):
        for name, value in {"RANK": rank, "WORLD_SIZE": size, **more}.items():
            monkeypatch.setenv(name, str(value))

    return pretend


def test_alone_nothing_is_shared_and_nobody_waits():
    only = ranks()
    assert only == Ranks(0, 1) and only.is_first and only.share([1, 2, 3]) == [1, 2, 3] and only.split(5, "n") == 5
    assert only.broadcast("x") == "x" and only.gather("x") == ["x"] and may_report()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_shares_of_all_ranks_are_everything_once(size):
    items = np.arange(20)
    parts = [Ranks(rank, size).share(items) for rank in range(size)]
    assert sorted(np.concatenate(parts)) == items.tolist() and max(map(len, parts)) - min(map(len, parts)) <= 1
    counts = [Ranks(rank, size).split(20, "n") for rank in range(size)]
    assert sum(counts) == 20 and max(counts) - min(counts) <= 1


def test_fewer_things_than_ranks_cannot_be_split():
    with pytest.raises(ValueError, match="num_envs: 3 .* among 4 processes"):
        Ranks(0, 4).split(3, "num_envs")


def test_alone_stays_the_rank_that_it_is(as_rank):
    as_rank(1, 2)
    assert ranks() == Ranks(1, 2)
    with alone():
        assert ranks() == Ranks(1, 1) and not ranks().is_first and ranks().share([1, 2]) == [1, 2]
    with without_launcher():
        assert "RANK" not in os.environ and ranks().size == 1
    assert ranks() == Ranks(1, 2)


def test_only_the_first_rank_shows_progress(as_rank, capsys):
    for rank in (0, 1):
        as_rank(rank, 2)
        with progress(1, "work") as shown:
            shown.advance()
        assert ("work" in capsys.readouterr().err) == (rank == 0)


def test_a_later_rank_keeps_nothing_and_needs_no_lock(as_rank, tmp_path):
    as_rank(0, 2)
    with RunFolder.open(tmp_path / "run", {"seed": 1}) as owner:
        before = sorted(p.name for p in (tmp_path / "run").iterdir())
        as_rank(1, 2)
        with RunFolder.open(tmp_path / "run", {"seed": 1}) as other:
            other.log(3, loss=1.0)
            other.save_checkpoint(3, {}, {})
            other.note(renderer="none")
            other.finish(minutes=1.0)
            assert other.latest_checkpoint() is None and other.path == owner.path and other.minutes >= 0
        assert sorted(p.name for p in (tmp_path / "run").iterdir()) == before
        assert "finished" not in owner.manifest() and "renderer" not in owner.manifest()


def test_a_restarted_launch_goes_on_in_its_own_folder_only(as_rank, tmp_path):
    as_rank(0, 1, TORCHELASTIC_RUN_ID="one", TORCHELASTIC_RESTART_COUNT=0)
    RunFolder.open(tmp_path / "own", {}).close()
    as_rank(0, 1, TORCHELASTIC_RUN_ID="another")
    RunFolder.open(tmp_path / "foreign", {}).close()
    as_rank(0, 1, TORCHELASTIC_RUN_ID="one")
    with pytest.raises(ValueError, match="resume=true"):
        RunFolder.open(tmp_path / "foreign", {})
    as_rank(0, 1, TORCHELASTIC_RESTART_COUNT=1)
    RunFolder.open(tmp_path / "own", {}).close()
    RunFolder.open(tmp_path / "own", {}).close()
    with pytest.raises(ValueError, match="resume=true"):  # the first attempt was refused, so is every later one
        RunFolder.open(tmp_path / "foreign", {})
    assert launch()


def test_a_lost_rank_is_told_from_other_faults(as_rank):
    lost = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer")
    assert not is_loss_of_a_rank(lost)
    as_rank(0, 2)
    assert is_loss_of_a_rank(lost) and not is_loss_of_a_rank(RuntimeError("shapes do not match"))
    assert not is_loss_of_a_rank(ValueError("gloo"))
