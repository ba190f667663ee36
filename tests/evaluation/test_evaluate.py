"""An evaluation depends on the policy, the task and the seeds, and on nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from coin import Coin, guesser, knower, seer
from embodkd.policies import make_policy

from embodkd.evaluation import Evaluation, compare, evaluate
from embodkd.evaluation.judge import run_episodes


def test_known_policies_get_their_known_rates() -> None:
    assert evaluate(knower(), Coin(7), episodes=50, quiet=True).success_rate == 1.0
    low, high = evaluate(guesser(), Coin(16), episodes=400, quiet=True).ci95
    assert low < 0.5 < high


@pytest.mark.parametrize("copies", [1, 3, 16, 64])
def test_outcomes_do_not_depend_on_the_number_of_copies(copies: int) -> None:
    reference = evaluate(guesser(), Coin(10), episodes=40, seed=5, quiet=True)
    assert evaluate(guesser(), Coin(copies), episodes=40, seed=5, quiet=True).outcomes == reference.outcomes


def test_outcomes_do_not_depend_on_the_order_of_episodes_or_on_what_ran_before() -> None:
    task, seeds = Coin(4), np.arange(30)
    forward = run_episodes(guesser(), task, seeds)
    backward = run_episodes(guesser(), task, seeds[::-1])
    assert forward == backward[::-1] == run_episodes(guesser(), task, seeds)


def test_episode_i_of_a_seed_runs_on_its_own_and_its_length_and_return_are_its_own() -> None:
    evaluation = evaluate(knower(), Coin(5), episodes=12, seed=100, quiet=True)
    assert [o.seed for o in evaluation.outcomes] == [100 * 2**32 + i for i in range(12)]
    assert [o.steps for o in evaluation.outcomes] == [3 + seed % 4 for seed in range(100, 112)]
    assert all(o.total_reward == pytest.approx(o.steps) for o in evaluation.outcomes)


def test_the_policy_always_gets_batches_of_one_size() -> None:
    policy = guesser()
    evaluate(policy, Coin(13), episodes=50, chunk=8, quiet=True)
    assert policy.batches == {8}


@pytest.mark.parametrize("copies", [1, 3, 16])
def test_a_policy_that_plans_ahead_has_a_plan_of_its_own_for_each_episode(copies: int) -> None:
    groups = {name: Coin(1).spec.groups[name] for name in ("proprio", "privileged")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = make_policy(
            "diffusion", groups, 2, vectors=tuple(groups), widths=(8, 16), horizon=4, execute=2, warm_start="warm"
        )
    reference = evaluate(policy, Coin(10), episodes=20, quiet=True)
    assert evaluate(policy, Coin(copies), episodes=20, quiet=True).outcomes == reference.outcomes
    assert len({o.total_reward for o in reference.outcomes}) == 20


def test_failures_are_counted_by_name() -> None:
    evaluation = evaluate(guesser(), Coin(8), episodes=60, quiet=True)
    assert set(evaluation.failures) == {"left", "right"}
    assert sum(evaluation.failures.values()) == evaluation.episodes - evaluation.successes


def test_a_task_that_never_says_whether_it_succeeded_is_an_error_and_not_zero_percent() -> None:
    with pytest.raises(ValueError, match="is_success"):
        evaluate(knower(), Coin(2, tell=False), episodes=2, quiet=True)


def test_a_group_that_the_task_lacks_is_named_with_its_neighbour() -> None:
    policy = knower()
    policy.reads = ("priviledged",)
    with pytest.raises(ValueError, match="privileged"):
        evaluate(policy, Coin(2), episodes=2, quiet=True)


def test_a_saved_evaluation_comes_back_equal_with_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "model.safetensors").write_bytes(b"weights")
    evaluation = evaluate(seer(), Coin(4), episodes=9, policy_folder=tmp_path / "policy", quiet=True)
    stored = json.loads(evaluation.save(tmp_path).read_text())
    assert Evaluation.load(tmp_path).outcomes == evaluation.outcomes
    assert (stored["success_rate"], stored["successes"], stored["episodes"]) == (1.0, 9, 9)
    assert stored["manifest"]["reads"] == {"proprio": "deployable", "eye": "deployable"}
    assert len(stored["manifest"]["weights_sha256"]) == 64
    assert stored["manifest"]["versions"]["numpy"] == np.__version__
    assert set(stored["per_episode"][0]) == {"seed", "success", "failure", "return", "steps"}


def test_a_tampered_or_missing_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such evaluation"):
        Evaluation.load(tmp_path / "evaluation.json")
    file = evaluate(seer(), Coin(4), episodes=9, quiet=True).save(tmp_path)
    file.write_text(file.read_text().replace('"successes": 9', '"successes": 8'))
    with pytest.raises(ValueError, match="do not match"):
        Evaluation.load(file)


def test_comparison_finds_better_worse_same_and_too_few() -> None:
    def judged(policy, episodes):  # type: ignore[no-untyped-def]
        return evaluate(policy, Coin(20), episodes=episodes, quiet=True)

    assert compare(judged(knower(), 60), judged(guesser(), 60)).verdict == "better"
    assert compare(judged(guesser(), 60), judged(knower(), 60)).verdict == "worse"
    assert compare(judged(seer(), 200), judged(knower(), 200)).verdict == "same within margin"
    assert compare(judged(seer(), 20), judged(knower(), 20)).verdict == "not enough episodes to tell"
    assert compare(judged(guesser(), 4), judged(knower(), 4)).verdict == "not enough episodes to tell"


def test_other_seeds_or_options_cannot_be_compared() -> None:
    one = evaluate(knower(), Coin(4), episodes=8, seed=0, quiet=True)
    with pytest.raises(ValueError, match="seed: 0 and 1"):
        compare(one, evaluate(knower(), Coin(4), episodes=8, seed=1, quiet=True))
    with pytest.raises(ValueError, match="episodes: 8 and 9"):
        compare(one, evaluate(knower(), Coin(4), episodes=9, seed=0, quiet=True))


def test_another_version_of_the_simulator_is_flagged() -> None:
    one = evaluate(knower(), Coin(4), episodes=8, quiet=True)
    versions = {**one.manifest["versions"], "mujoco": "3.14.0"}
    other = Evaluation(one.outcomes, one.protocol, {**one.manifest, "versions": versions})
    assert any("mujoco" in flag for flag in compare(one, other).flags)
