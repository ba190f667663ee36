"""Ablation and probes tell a policy that looks from one that does not, and a clean input from a leaky one."""

from __future__ import annotations

import numpy as np
import pytest
from coin import Coin, Fixed, cheat, guesser, knower, seer

from embodkd.evaluation import ablate, probe_leak, probe_privileged


def test_a_policy_that_looks_loses_without_its_image_and_not_without_its_other_group() -> None:
    table = ablate(seer(), Coin(20, varied=False), episodes=60, quiet=True)
    assert table.intact.success_rate == 1.0
    for way in ("blank", "mean", "shuffle"):
        assert table.comparisons()["eye", way].verdict == "worse", way
    assert table.spoiled["eye", "freeze"].success_rate == 1.0  # the side never changes within an episode
    assert table.unused() == ("proprio",)


@pytest.mark.parametrize("episodes", [2, 3, 5, 9, 10])
def test_a_shuffled_sensor_is_never_an_episodes_own(episodes) -> None:  # type: ignore[no-untyped-def]
    """Also where the last copy runs alone: each episode's sensor names it, and its seed is compared with that."""
    seen: list[tuple[float, float]] = []
    task = Coin(2 if episodes < 10 else 3)
    task.observers["leaky"] = lambda ids: task._rows(np.repeat(task.seeds[:, None], 4, 1) + 0.25, ids)
    task.observers["proprio"] = lambda ids: task._rows(np.repeat(task.seeds[:, None], 3, 1), ids)

    def decide(obs):  # type: ignore[no-untyped-def]
        rows = zip(obs["proprio"][:, 0].tolist(), obs["leaky"][:, 0].tolist(), strict=True)
        seen.extend(row for row in rows if row[1])  # all zeros: what fills up a chunk
        return obs["leaky"][:, 0]

    ablate(Fixed(["proprio", "leaky"], decide), task, groups=["leaky"], ways=["shuffle"], episodes=episodes, quiet=True)
    spoiled = seen[len(seen) // 2 :]
    assert {own for own, _ in spoiled} == set(range(episodes))
    for own, shown in spoiled:
        assert shown - 0.25 in range(episodes) and shown - 0.25 != own


def test_only_deployable_groups_that_are_read_can_be_spoiled() -> None:
    with pytest.raises(ValueError, match="does not read"):
        ablate(guesser(), Coin(4), groups=["eye"], quiet=True)
    with pytest.raises(ValueError, match="two copies"):
        ablate(guesser(), Coin(1), quiet=True)


def test_ablation_is_written_with_one_row_per_group_and_way(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import json

    table = ablate(seer(), Coin(10), episodes=20, groups=["eye"], ways=["blank", "shuffle"], quiet=True)
    rows = json.loads(table.save(tmp_path).read_text())["rows"]
    assert [(row["group"], row["way"]) for row in rows] == [("eye", "blank"), ("eye", "shuffle")]


def test_leak_probe_names_a_policy_that_peeks_whatever_it_claims_to_read() -> None:
    assert probe_leak(cheat(), Coin(6)).leaks == ("privileged",)
    assert probe_leak(knower(), Coin(6)).leaks == ("privileged",)
    clean = probe_leak(seer(), Coin(6))
    assert clean.leaks == () and clean.ignored == ()
    assert probe_leak(cheat(), Coin(6)).ignored == ("eye",)


def test_a_secret_in_a_deployable_vector_is_recovered_and_honest_noise_is_not() -> None:
    task = Coin(100, varied=False)
    found = {r.quantity: r for r in probe_privileged(task, ["leaky"], baseline=["proprio"])}
    assert found["privileged[0]"].excess > 0.9
    honest = probe_privileged(task, ["proprio"])
    assert all(r.r2 < 0.1 for r in honest)


def test_images_are_no_business_of_the_regressor() -> None:
    with pytest.raises(ValueError, match="eye"):
        probe_privileged(Coin(4), ["eye"])
