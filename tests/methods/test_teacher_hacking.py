"""Teacher hacking: proxy and golden are what they say, and the alarm rings when it should."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from rows import C, large_lm, small_lm, texts
from torch import Tensor

from embodkd.core import Budget, Context, Optimiser, Trainer, kl
from embodkd.methods.teacher_hacking import TeacherHacking
from embodkd.parts.texts.hacking import Watch, facts
from embodkd.parts.texts.power_law import PowerLaw, leaves

CONTEXT = Context(None, 0, torch.device("cpu"))


def lm(seed: int, make: Any = large_lm) -> Any:
    torch.manual_seed(seed)
    return make()


def watched(student: Any, teacher: Any, oracle: Any) -> dict[str, float]:
    return Watch(student, teacher, oracle, texts(), kl, seed=1)(CONTEXT)


def test_with_the_oracle_as_teacher_and_the_same_texts_both_figures_are_one() -> None:
    oracle, student = lm(1), lm(2, small_lm)
    watch = Watch(student, oracle, oracle, texts(), kl, seed=1)
    watch._texts["proxy"] = watch._texts["golden"]
    found = watch(CONTEXT)
    assert found["held_out/proxy"] == found["held_out/golden"] > 0


def test_a_student_that_is_its_teacher_has_no_proxy_and_the_teachers_own_distance_as_golden() -> None:
    teacher, oracle = lm(1), lm(3)
    watch = Watch(teacher, teacher, oracle, texts(), kl, seed=1)
    found = watch(CONTEXT)
    assert found["held_out/proxy"] == pytest.approx(0.0, abs=1e-9)
    assert (
        watch.verdict(CONTEXT)["apart"] == pytest.approx(found["held_out/golden"], rel=1e-9)
        and found["held_out/golden"] > 0
    )


def recipe(oracle: int = 5, pool: int = 12, **options: Any) -> Any:
    method = TeacherHacking(**{"share": 0.5, "evaluations": 4, **options})
    budget = Budget(updates=12, batch_size=4, optimiser=Optimiser("adam", 0.01))
    models = {"oracle": lm(oracle), "teacher": lm(6)}
    return method.recipe(lm(7, small_lm), models, texts(12, pool=pool), seed=5, budget=budget)


def test_in_the_second_stage_another_oracle_changes_golden_only() -> None:
    """Teacher, initial student and responses are the same; what the first stage learned is left out."""
    said, weights = [], []
    for oracle in (5, 8):
        made = recipe(oracle)
        made = type(made)(made.stages[1:], made.product)
        summary = Trainer(quiet=True, seed=3, log_every=1).fit(made)
        said.append(summary.last)
        weights.append([p.detach().clone() for p in made.product.parameters()])
    assert all(a.equal(b) for a, b in zip(*weights, strict=True))
    assert said[0]["held_out/proxy"] == said[1]["held_out/proxy"]
    assert said[0]["held_out/golden"] != said[1]["held_out/golden"]


@pytest.mark.parametrize("source", ["offline", "online_teacher", "online_student"])
def test_every_source_makes_equally_many_updates_and_leaves_teacher_and_oracle_alone(source: str) -> None:
    made = recipe(source=source)
    given = made.stages[2].players[0].given["t"].model
    before = [p.detach().clone() for p in given.parameters()]
    summary = Trainer(quiet=True, seed=3).fit(made)
    assert summary.updates == 12
    assert all(a.equal(b) and b.grad is None for a, b in zip(before, given.parameters(), strict=True))


def test_online_texts_are_new_at_every_visit_and_offline_ones_are_not() -> None:
    for source, new in (("offline", False), ("online_teacher", True)):
        written = recipe(source=source).stages[2].source
        seen = []
        for refill in range(2):
            written.refill(refill if new else 0)
            seen.append(written.gather(np.arange(written.size()), 0)["tokens"])
        assert seen[0].equal(seen[1]) != new


def test_responses_multiply_the_texts_and_names_of_teachers_are_asked_for() -> None:
    made = recipe(responses=5, pool=3)
    assert made.stages[2].source.size() == 15
    with pytest.raises(ValueError, match="needs the teachers oracle and teacher, got teacher"):
        TeacherHacking().recipe(small_lm(), large_lm(), texts(), budget=Budget(updates=4))
    with pytest.raises(
        ValueError, match=r"the part pool \(data\.pool\).*updates=4 and the parts train, validation, test"
    ):
        TeacherHacking().recipe(
            small_lm(), {"oracle": large_lm(), "teacher": large_lm()}, texts(), budget=Budget(updates=4)
        )


def enumerated(model: Any, prompt: list[int], length: int) -> dict[tuple[int, ...], Tensor]:
    """Every continuation of `length` tokens out of the first 3, and the log-probability of each of its tokens."""
    found = {}
    for tokens in itertools.product(range(3), repeat=length):
        whole = torch.tensor([[*prompt, *tokens]])
        rows = model(whole)["logits"][0, len(prompt) :, :3].double().log_softmax(-1)
        found[tokens] = rows
    return found


def test_the_sum_over_positions_of_next_token_divergences_is_the_divergence_of_whole_texts() -> None:
    """On models small enough to be enumerated: 3 symbols, 3 tokens."""
    with torch.no_grad():
        p, q = (enumerated(lm(seed), [0, 1], 3) for seed in (1, 2))
    exact = summed = ratio = 0.0
    for tokens in p:
        place = torch.arange(3)
        own_p, own_q = (rows[tokens][place, list(tokens)].sum() for rows in (p, q))
        weight = own_p.exp()
        exact += weight * (own_p - own_q)
        summed += weight * (p[tokens].exp() * (p[tokens] - q[tokens])).sum()
        ratio += weight * (own_p - own_q)
    torch.testing.assert_close(summed, exact, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ratio, exact, rtol=1e-12, atol=0)
    assert C == 3


def test_facts_name_gap_hacking_and_what_can_be_known_without_the_oracle() -> None:
    steps, proxy, golden = [0, 10, 20, 30, 40], [1.0, 0.8, 0.7, 0.72, 0.75], [1.2, 1.0, 1.05, 1.1, 1.15]
    found = facts(steps, proxy, golden)
    assert found["gap"] == pytest.approx(0.15) and found["hacked"] == pytest.approx(0.05)
    assert found["window"] == 10 and found["at_least_proxy"] == 1.05 and found["alarm"] == -1.0
    calm = facts(steps, [1.0, 0.8, 0.7, 0.6, 0.5], [1.2, 1.0, 0.9, 0.8, 0.7])
    assert calm["gap"] == 0.0 and calm["hacked"] == 0.0


STEPS = np.unique(np.geomspace(1, 1e4, 100).round())


def curve(seed: int, change: float = 0.0, noise: float = 0.01) -> np.ndarray:
    """3 t^-0.4, whose slope changes by `change` at t = 1000, with independent noise."""
    rng = np.random.default_rng(seed)
    bent = np.where(STEPS > 1000, (STEPS / 1000) ** change, 1.0)
    return 3.0 * STEPS**-0.4 * bent * np.exp(noise * rng.standard_normal(len(STEPS)))


def test_the_alarm_is_silent_on_a_power_law_and_on_a_faster_fall_and_rings_soon_after_a_bend() -> None:
    silent = [leaves(STEPS, curve(seed)) for seed in range(400)]
    assert sum(alarm is not None for alarm in silent) <= 4
    assert all(leaves(STEPS, curve(seed, change=-0.2)) is None for seed in range(100))
    rung = [leaves(STEPS, curve(seed, change=0.2)) for seed in range(400)]
    assert sum(alarm is not None and 1000 <= alarm <= 2000 for alarm in rung) >= 392


def test_the_fit_finds_the_law_and_refuses_what_is_none() -> None:
    law = PowerLaw.fitted(STEPS, curve(0, noise=0.0))
    assert law.a == pytest.approx(3.0) and law.b == pytest.approx(0.4) and law.spread < 1e-12
    with pytest.raises(ValueError, match="at least 3 points"):
        PowerLaw.fitted([1, 2], [1, 1])
    assert leaves([1, 2, 3], [1, 1, 1]) is None
