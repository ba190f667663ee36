"""Seeds are apart: no two share an episode, each keeps its own file, and a report shows all of them together."""

from __future__ import annotations

import embodkd.policies
import numpy as np
import pytest
from coin import Coin, guesser, knower
from embodkd.envs import Stream, seeds

import embodkd.evaluation
from embodkd.cli.common import WorldChoice
from embodkd.cli.evaluate import file_name, judge
from embodkd.evaluation import Evaluation, evaluate
from embodkd.evaluation.record import record
from embodkd.evaluation.report.members import read_member


def judged(seed: int, episodes: int = 8) -> Evaluation:
    return evaluate(guesser(), Coin(4), episodes=episodes, seed=seed, quiet=True)


def test_seed_0_is_as_it_was_and_no_two_seeds_share_an_episode() -> None:
    np.testing.assert_array_equal(seeds.judged(0, 5), np.arange(5))
    drawn = [seeds.judged(seed, 1000) for seed in (0, 1, 2, 2**31 - 1)]
    assert len(np.unique(np.concatenate(drawn))) == 4000 and min(map(np.min, drawn)) >= 0
    assert not {o.seed for o in judged(0).outcomes} & {o.seed for o in judged(1).outcomes}
    for seed in (-1, 2**31):
        with pytest.raises(ValueError, match="seed is"):
            seeds.judged(seed, 1)


def test_each_seed_keeps_its_own_file_and_a_report_shows_them_together(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    meta = {"task": {"name": "coin", "engine": "none", "options": {}}}
    monkeypatch.setattr(embodkd.policies, "load_policy", lambda folder: (None, meta))
    monkeypatch.setattr(embodkd.evaluation, "evaluate", lambda *_, seed, **__: judged(seed))
    monkeypatch.setattr(WorldChoice, "task_of", lambda self, meta: ("coin", {}))
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.json").write_text("{}")
    parts = [judge(tmp_path, episodes=8, seed=seed) for seed in (0, 1, 7)]
    names = sorted(file.name for file in tmp_path.glob("*.json"))
    assert names == ["evaluation.json", "evaluation_seed_1.json", "evaluation_seed_7.json"]
    shown = read_member(tmp_path).evaluation
    assert shown is not None and shown.protocol["seed"] == [0, 1, 7]
    assert shown.outcomes == tuple(outcome for part in parts for outcome in part.outcomes)
    assert shown.episodes == shown.protocol["episodes"] == 24


@pytest.mark.parametrize(
    ("kind", "other", "seed", "name"),
    [
        ("ablation", "", 0, "ablation.json"),
        ("ablation", "", 3, "ablation_seed_3.json"),
        ("ablation", "randomness-high", 3, "ablation_randomness-high_seed_3.json"),
        ("evaluation", "randomness-high", 0, "evaluation_randomness-high.json"),
    ],
)
def test_what_was_judged_in_another_world_or_of_another_seed_has_a_name_of_its_own(kind, other, seed, name) -> None:
    assert file_name(kind, other, seed) == name


def test_compare_judges_on_the_episodes_of_all_seeds_together(embodkd, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    actors = {"knows": knower(), "guesses": guesser()}
    for name in actors:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    monkeypatch.setattr(
        "embodkd.policies.load_policy", lambda folder: (actors[folder.name], {"task": {"name": "coin"}})
    )
    monkeypatch.setattr("embodkd.policies.check_task", lambda *_: ())
    monkeypatch.setattr("embodkd.envs.make_task", lambda name, copies, **_: Coin(copies))
    monkeypatch.setattr(WorldChoice, "task_of", lambda self, meta: ("coin", {}))
    monkeypatch.setattr(
        "embodkd.evaluation.evaluate",
        lambda actor, *_, seed, **__: evaluate(actor, Coin(4), episodes=10, seed=seed, quiet=True),
    )
    answer = embodkd("compare", "policy=knows", "against=guesses", "seed=[0,1]", "episodes=10", "quiet=true")
    assert answer.code == 0, answer.err
    parts = [evaluate(guesser(), Coin(4), episodes=10, seed=seed, quiet=True).successes for seed in (0, 1)]
    assert 0 < parts[0] != parts[1] > 0, "the seeds shall tell apart"
    knows, guesses, verdict = answer.out.splitlines()
    assert knows.startswith("knows: 100.0 % of 20 episodes")
    assert guesses.startswith(f"guesses: {100 * sum(parts) / 20:.1f} % of 20 episodes")
    assert f"{100 - 100 * sum(parts) / 20:+.1f} points" in verdict and "on 20 shared episodes" in verdict


def test_only_like_evaluations_are_shown_together() -> None:
    one, other = judged(0), judged(1, episodes=4)
    assert Evaluation.together([one]) is one
    assert Evaluation.together([one, other]).successes == one.successes + other.successes
    other.protocol["version"] = 9
    with pytest.raises(ValueError, match="differ in version"):
        Evaluation.together([one, other])


def test_training_and_recording_streams_of_adjacent_seeds_are_apart() -> None:
    """And apart from what is judged on."""
    copies, seen = 64, []
    for seed in range(3):
        stream = Stream(Coin(copies), ["proprio"], seeds.training(seed, copies))
        stream.reset()
        for _ in range(40):
            seen.append(stream.task.seeds.copy())
            stream.go_on()
        made = record(Coin(16), guesser(), 40, ["proprio"], seed=seed, only_success=False, quiet=True)
        seen += [np.array([recording.seed for recording in made]), seeds.judged(seed, 1000)]
    together = np.concatenate(seen)
    assert len(np.unique(together)) == len(together)


@pytest.fixture(scope="module")
def fixed() -> np.ndarray:
    """The episodes of no seed, int64 and ascending: what a training is judged on, examples, rehearsals."""
    found = [np.arange(1_048_576) + seeds.LEARNING_JUDGE, np.arange(2) + seeds.EXAMPLE, seeds.rehearsed(1_000_000)]
    return np.sort(np.concatenate(found))


def test_episodes_of_no_seed_are_apart_and_in_the_first_block(fixed) -> None:  # type: ignore[no-untyped-def]
    assert (np.diff(fixed) > 0).all()
    assert fixed[0] > 10_000_000, "the first ten million are judged on"
    assert fixed[-1] < 2**32, "nor in another block"


@pytest.mark.parametrize("seed", [0, 1, 989, 990, 1294, 1295, 1296, 100_000, 3_898_437, 8_964_845, 2**31 - 2])
def test_no_seed_of_training_or_recording_meets_an_episode_that_is_judged_on(seed: int, fixed) -> None:  # type: ignore[no-untyped-def]
    """Nor each other's, nor those of their neighbours; the last of each room count too."""
    copies = 256
    trained = [seeds.training(s, copies) + np.arange(copies) for s in (seed, seed + 1)]
    recorded = [seeds.recorded(s, first, 1000) for s in (seed, seed + 1) for first in (0, 1_000_003 - 1000)]
    learned = np.concatenate([*trained, *recorded])
    assert len(np.unique(learned)) == len(learned) and learned.min() >= 0
    assert (learned % 2**32).min() > 10_000_000, "the first ten million of every block are judged on"
    assert not np.isin(fixed[np.searchsorted(fixed, learned).clip(max=len(fixed) - 1)], learned).any()


def test_small_seeds_have_the_episodes_that_stored_results_were_made_of() -> None:
    assert seeds.training(3, 256) == 2_000_000_011 + 768
    assert seeds.recorded(2, 64, 1)[0] == 3_000_000_019 + 2_000_006 + 64


def test_a_recording_ends_before_the_next_seed_s_episodes() -> None:
    with pytest.raises(ValueError, match="1,000,003 episodes"):
        seeds.recorded(0, 1_000_000, 4)
