"""Reinforcement learning on several processes: the update that one process makes, and a killed one that goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import fork_ranks
from launch import launch
from safetensors.torch import load_file
from together import together

from embodkd.cli import main
from embodkd.core.ranks import ranks
from embodkd.rl import shared
from embodkd.rl.advantages import standardise
from embodkd.rl.shared import Copies

PPO = [
    "train", "teacher", "task=peg_hole", "task.max_steps=12", "ppo.num_envs=5", "ppo.n_steps=16", "ppo.minibatch=20",
    "ppo.epochs=2", "evaluate_every=240", "evaluate_episodes=3", "episodes=3", "torch_threads=1", "target=null",
    "checkpoint_every=80", "network.hidden=[16]", "quiet=true",
]  # fmt: skip


def learned(folder: Path, run: str, processes: int, steps: int, *more: str) -> dict[str, torch.Tensor]:
    words = [*PPO, f"steps={steps}", f"run={run}", *more]
    code, said = fork_ranks(folder, lambda: main(words), processes)
    assert code == 0 and f"{steps} steps" in said, said[-2000:]
    return load_file(folder / run / "policy_last/model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder in which one, two and three processes learned alike."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, {size: learned(folder, f"on_{size}", size, 480) for size in (1, 2, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_processes_that_share_out_the_copies_learn_what_one_learns(whole, size) -> None:
    """Five copies are two and three of them, or two, two and one; within rounding, which training makes larger."""
    folder, weights = whole
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[size][name], value, rtol=1e-4, atol=1e-4, msg=name)
    one, several = (
        [json.loads(line) for line in (folder / f"on_{n}/metrics.jsonl").read_text().splitlines()] for n in (1, size)
    )
    assert [row["step"] for row in one] == [row["step"] for row in several]
    for a, b in zip(one, several, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"time_s"}:
            assert b[name] == pytest.approx(a[name], rel=2e-2, abs=2e-3), name
    # before the first update nothing but the actor's own sums is rounded otherwise
    assert several[0]["rollout/ep_rew_mean"] == pytest.approx(one[0]["rollout/ep_rew_mean"], rel=1e-6)


@pytest.mark.slow
def test_a_killed_rank_comes_back_and_all_end_in_the_same_bits(whole, tmp_path) -> None:
    wanted = learned(tmp_path, "whole", 2, 800)
    words = ["-m", "embodkd.cli", *PPO, "steps=800", "run=cut"]
    with launch(tmp_path, *words, restarts=1) as started:
        limit = time.monotonic() + 100
        while not [*(tmp_path / "cut/checkpoints").glob("step_[1-9]*")] or 1 not in started.workers():
            assert started.process.poll() is None and time.monotonic() < limit
            time.sleep(0.01)
        started.workers()[1].kill()
        code, _, err = started.end()
    assert code == 0, err[-2000:]
    assert json.loads((tmp_path / "cut/manifest.json").read_text())["resumed"]
    found = load_file(tmp_path / "cut/policy_last/model.safetensors")
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_another_number_of_processes_does_not_go_on(whole) -> None:
    folder, _ = whole
    code, said = fork_ranks(folder, lambda: main([*PPO, "steps=480", "run=on_2", "resume=true"]), 1)
    assert code != 0 and "was trained by 2 processes" in said, said


@pytest.mark.parametrize("counts", [[3, 2], [1, 1, 3], [5]])
def test_all_rows_are_in_one_processes_minibatch_and_in_their_place(counts) -> None:
    steps, copies = 7, sum(counts)
    order = torch.randperm(steps * copies, generator=torch.Generator().manual_seed(0))
    whole = torch.arange(steps * copies).view(steps, copies)
    pieces: list[set[int]] = [set() for _ in range(4)]
    for rank, own in enumerate(counts):
        first = sum(counts[:rank])
        mine = whole[:, first : first + own].flatten()
        rows, ends = Copies(own, copies, first).rows(order, 10)
        for piece, (start, end) in zip(pieces, zip([0, *ends], ends, strict=False), strict=True):
            now = mine[rows[start:end]].tolist()
            assert not piece & set(now)
            piece.update(now)
    assert pieces == [set(order[start : start + 10].tolist()) for start in range(0, 35, 10)]


def test_statistics_of_several_processes_are_those_of_all_rows(monkeypatch) -> None:
    from embodkd.policies import RunningNormaliser

    rows = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(1)) * 3 + 5

    def seen(rank: int, size: int) -> RunningNormaliser:
        one = RunningNormaliser(4)
        for batch in rows:
            shared.see_together([one], lambda batch=batch: one.update(batch[rank::size]))
        return one

    alone = seen(0, 1)
    for one in together(3, lambda rank: seen(rank, 3)):
        for name in ("count", "mean", "squares", "shift", "scale"):
            torch.testing.assert_close(getattr(one, name), getattr(alone, name), rtol=1e-12, atol=1e-12)


def test_what_is_standardised_together_is_what_one_process_standardises(monkeypatch) -> None:
    values = torch.randn(31, generator=torch.Generator().manual_seed(2)) * 7 - 3
    monkeypatch.setattr(shared, "all_sum", lambda value: torch.stack(ranks().gather(value)).sum(0))
    parts = together(3, lambda rank: shared.standardised(values[rank::3]))
    for rank, part in enumerate(parts):
        np.testing.assert_allclose(part, standardise(values)[rank::3], rtol=1e-5, atol=1e-6)
