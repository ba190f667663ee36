"""A selected source shows the chosen items under their own ids and comes back after a resume."""

import numpy as np
import pytest
import torch

from embodkd.core import Player, Role, Selected, TensorData, Trainer, adaptive_thresholds, fit, squared_error


def pool(n=20):
    return TensorData({"input": torch.arange(float(n))[:, None], "sample_id": 100 + torch.arange(n)})


def test_chosen_items_keep_their_ids():
    source = Selected(pool(), lambda refill: np.array([3, 7, 11]) + refill)
    source.refill(2)
    assert source.gather(np.array([2, 0]), 0).sample_id_N.tolist() == [113, 105]


@pytest.mark.parametrize("places", [[], [0, 0], [-1], [20]])
def test_impossible_choices_are_errors(places):
    with pytest.raises(ValueError, match="selector"):
        Selected(pool(), lambda _: np.array(places, dtype=np.int64)).refill(0)


def test_a_resume_takes_up_the_last_choice(tmp_path):
    source = Selected(pool(), lambda refill: np.arange(refill + 1))
    source.refill(4)
    source.save(tmp_path)
    other = Selected(pool(), lambda refill: np.arange(1))
    other.restore(tmp_path, 5)
    assert other.size() == 5


def test_a_later_choice_leaves_that_of_the_former_checkpoint(tmp_path):
    source = Selected(pool(), lambda refill: np.arange(refill + 1))
    for refill in (0, 1, 4):
        source.refill(refill)
        source.save(tmp_path)
        source.tidy(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"selected_1", "selected_4"}
    for refills in (5, 2):
        other = Selected(pool(), lambda refill: np.arange(1))
        other.restore(tmp_path, refills)
        assert other.size() == refills
    other.tidy(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"selected_1"}, "work after the checkpoint will be repeated"


def test_the_choice_is_made_before_each_round_and_all_of_it_is_used():
    asked, seen = [], []

    def choose(refill):
        asked.append(refill)
        return np.arange(refill, refill + 4)

    def terms(batch, s):
        seen.extend(batch.sample_id_N.tolist())
        return {"x": squared_error(s.logits_NC, batch["input"])}

    source = Selected(pool(), choose, size_after=lambda _: 4)
    Trainer(quiet=True).fit(fit(Player(Role(torch.nn.Linear(1, 1)), terms), source, rounds=3, batch_size=2))
    assert asked == [0, 1, 2]
    assert [sorted(seen[k : k + 4]) for k in (0, 4, 8)] == [[100 + k + j for j in range(4)] for k in range(3)]


def test_without_a_planned_size_the_stage_must_count_updates():
    with pytest.raises(ValueError, match="updates_per_round"):
        fit(Player(Role(torch.nn.Linear(1, 1)), lambda b, s: {}), Selected(pool(), lambda _: [0])).stages[0].updates()


def test_thresholds_are_the_cutoff_for_the_most_frequent_answer_and_lower_for_rarer_ones():
    threshold = adaptive_thresholds(np.array([0, 0, 0, 0, 1, 1, 3]), 4, 0.95)
    assert threshold == pytest.approx([0.95, 0.95 * 0.5 / 1.5, 0.0, 0.95 * 0.25 / 1.75])
    assert adaptive_thresholds(np.repeat(np.arange(5), 3), 5, 0.95) == pytest.approx([0.95] * 5)
    assert not adaptive_thresholds(np.array([1, 1, 2]), 3, 0.0).any()
