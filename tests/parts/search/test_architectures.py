"""Architecture search: the space, what may be judged, and that evolution beats chance on a known function."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from embodkd.parts.search.architectures import Search, Space, at_random, every, evolve, rank_correlation, ranked

CELLS = Space(((0, 1, 2, 3),) * 3)


def anything(architecture):
    return True


def test_a_mutation_changes_exactly_one_place_and_reaches_all_neighbours():
    rng, start = np.random.default_rng(0), (1, 2, 3)
    seen = {CELLS.mutate(start, rng) for _ in range(500)}
    assert all(sum(a != b for a, b in zip(start, one, strict=True)) == 1 for one in seen)
    assert len(seen) == 9 and seen <= set(CELLS) and len(set(CELLS)) == len(CELLS) == 64
    assert Space(((1,), (2,))).mutate((1, 2), rng) == (1, 2)


@pytest.mark.parametrize("choices", [(), ((),), ((1, 1),)])
def test_a_space_without_choices_is_refused(choices):
    with pytest.raises(ValueError, match="different choices"):
        Space(choices)


@pytest.mark.parametrize("how", ["evolution", "random", "all"])
def test_each_is_judged_once_and_none_that_is_not_allowed(how):
    asked = []

    def judge(architecture):
        asked.append(architecture)
        return -float(sum(architecture))

    found = Search(how, evaluations=200, population=10)(CELLS, judge, lambda a: sum(a) <= 4, seed=0)
    assert len(asked) == len(set(asked)) == len(found)
    assert all(sum(a) <= 4 for a in asked)
    assert ranked(found)[0] == max(found, key=found.get)
    again = Search(how, evaluations=200, population=10)(CELLS, judge, lambda a: sum(a) <= 4, seed=0)
    assert list(again) == list(found)


def test_the_first_generation_is_of_different_ones_and_may_be_a_whole_space():
    rng = np.random.default_rng(0)
    assert len(evolve(CELLS, sum, anything, population=36, children=0, rng=rng)) == 36
    assert len(evolve(Space(((0, 1),) * 2), sum, anything, population=36, children=9, rng=rng)) == 4
    assert set(at_random(CELLS, sum, anything, evaluations=1000, rng=rng)) == set(every(CELLS, sum, anything))


def test_nothing_allowed_is_one_clear_error():
    with pytest.raises(ValueError, match="no architecture of the space is allowed"):
        Search()(CELLS, sum, lambda a: False, seed=0)


def test_parents_are_the_best_of_the_sample():
    """With the whole population in the tournament and one parent, all first children descend from the best."""
    judged = evolve(CELLS, sum, anything, population=20, sample=20, top=1, children=1, rng=np.random.default_rng(1))
    first = list(judged)[:20]
    best = max(first, key=lambda a: judged[a])
    born = list(judged)[20:]
    assert all(sum(a != b for a, b in zip(best, child, strict=True)) == 1 for child in born)


def test_the_oldest_die_however_good_they_are(monkeypatch):
    """The best of all stands in the first generation; when that is gone, it has no children any more."""
    space, parents, mutate = Space(((0, 1, 2, 3),) * 6), [], Space.mutate
    best = next(iter(evolve(space, sum, anything, population=6, children=0, rng=np.random.default_rng(0))))

    def watched(self, architecture, rng):
        parents.append(architecture)
        return mutate(self, architecture, rng)

    monkeypatch.setattr(Space, "mutate", watched)
    sizes = {"population": 6, "sample": 6, "top": 1, "children": 30}
    evolve(space, lambda a: float(a == best), anything, **sizes, rng=np.random.default_rng(0))
    assert parents[0] == best and best not in parents[6:]


def test_evolution_finds_a_known_optimum_in_fewer_evaluations_than_chance():
    """Minus the distance to a goal, 40 goals and seeds; how many are judged before the goal is."""
    spent = {"evolution": [], "random": []}
    for seed in range(40):
        goal = CELLS.draw(np.random.default_rng((seed, 1)))

        def judge(architecture, goal=goal):
            return -float(sum(abs(a - b) for a, b in zip(architecture, goal, strict=True)))

        for how, counts in spent.items():
            found = list(Search(how, evaluations=2000, population=8, sample=4, top=1)(CELLS, judge, anything, seed))
            counts.append(found.index(goal) if goal in found else len(CELLS))
    assert np.mean(spent["evolution"]) < 0.75 * np.mean(spent["random"])


def test_rank_correlation_is_spearmans_and_0_for_constants():
    a, b = np.random.default_rng(0).normal(size=(2, 12)).round(1).tolist()
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, a) == pytest.approx(1.0)
    assert rank_correlation(a, [1.0] * 12) == rank_correlation([2.0] * 12, b) == 0.0
