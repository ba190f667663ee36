"""Controllers of balance: limits, fixed points and rates in closed form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import entropy, offset_entropy
from embodkd.parts.players.balance import EntropyBalance, LossRatio, Together

losses = st.floats(1e-3, 1e3)


def means(a, b):
    return {"a": torch.tensor(float(a)), "b": torch.tensor(float(b))}


@given(st.lists(st.tuples(losses, losses), min_size=1, max_size=20), st.floats(0.0, 1.0))
def test_weights_are_a_distribution(history, rate):
    ratio = LossRatio(("a", "b"), rate=rate)
    for pair in history:
        weights = ratio(means(*pair))
        assert min(weights.values()) >= 0 and sum(weights.values()).item() == pytest.approx(1.0, abs=1e-6)


@given(st.lists(st.tuples(losses, losses), min_size=2, max_size=10), st.sampled_from([0.125, 2.0, 64.0]))
def test_a_factor_on_all_losses_changes_no_weight(history, factor):
    one, other = LossRatio(("a", "b"), rate=0.1), LossRatio(("a", "b"), rate=0.1)
    for a, b in history:
        assert one(means(a, b)) == other(means(factor * a, factor * b))


def test_constant_losses_draw_the_weights_geometrically_to_their_relative_size():
    """After the first update L / L0 is (1/4, 1/2), so r = (1/3, 2/3); the distance to it shrinks by 1 - rate."""
    ratio = LossRatio(("a", "b"), rate=0.1)
    assert float(ratio(means(8, 6))["a"]) == pytest.approx(0.5)
    for k in range(1, 30):
        weight = float(ratio(means(2, 3))["a"])
        assert weight == pytest.approx(1 / 3 + (1 / 2 - 1 / 3) * 0.9**k, abs=1e-6)


def test_equal_progress_leads_to_equal_weights_and_less_progress_to_more():
    ratio = LossRatio(("a", "b"), rate=0.2, start=(0.9, 0.1))
    for _ in range(100):
        weights = ratio(means(4, 40))
    assert float(weights["a"]) == pytest.approx(0.5, abs=1e-6)
    assert float(ratio(means(1, 40))["b"]) > 0.5


def test_the_exponent_sharpens_the_ratio():
    ratio = LossRatio(("a", "b"), rate=1.0, exponent=2.0)
    ratio(means(1, 1))
    assert float(ratio(means(1, 2))["b"]) == pytest.approx(4 / 5)


def test_losses_that_vanish_leave_equal_weights():
    ratio = LossRatio(("a", "b"), rate=0.5)
    assert [float(w) for w in ratio(means(0, 0)).values()] == [0.5, 0.5]


def test_a_rate_of_zero_keeps_the_first_weights_and_a_schedule_ends_the_motion():
    still = LossRatio(("a", "b"), rate=0.0, start=(3, 1))
    moving = LossRatio(("a", "b"), rate={"shape": "step", "values": [0.5, 0.0], "at_steps": [0, 2]})
    for pair in ((1, 1), (5, 1), (9, 1)):
        assert float(still(means(*pair))["a"]) == 0.75
        last = float(moving(means(*pair))["a"])
    assert last == pytest.approx(0.5 * 0.5 + 0.5 * 5 / 6)


def heat(logits_a, logits_b, updates, **options):
    """The two temperatures after each update, with both teachers' logits fixed."""
    balance = EntropyBalance(("a", "b"), **options)
    spread = offset_entropy if options.get("by_ratio") else entropy
    path = []
    for _ in range(updates):
        pair = (z / T for z, T in zip((logits_a, logits_b), balance.temperature, strict=True))
        assert set(balance(dict(zip("ab", (spread(z).mean() for z in pair), strict=True))).values()) == {0.0}
        path.append(balance.temperature.tolist())
    return torch.tensor(path)


@pytest.mark.parametrize("by_ratio", [False, True])
def test_the_sharper_teacher_is_heated_until_the_entropies_meet_and_the_flatter_one_stays_at_its_bound(by_ratio):
    torch.manual_seed(0)
    flat, sharp = torch.randn(50, 10), 3.0 * torch.randn(50, 10)
    path = heat(flat, sharp, 400, rate=0.01, by_ratio=by_ratio)
    assert (path[:, 0] <= 1.0 + 0.0101).all() and (path >= 1).all() and (path <= 10).all()
    first = path[:200, 1]
    torch.testing.assert_close(first[:150], 1.0 + 0.01 * torch.arange(1, 151), rtol=1e-4, atol=0)
    gaps = [abs(entropy(flat / a).mean() - entropy(sharp / b).mean()) for a, b in path[-10:]]
    last = float(path[-1, 1])
    one_step = sum(
        (entropy(z / (T + 0.01)).mean() - entropy(z / T).mean()).abs() for z, T in ((flat, 1.0), (sharp, last))
    )
    assert max(gaps) <= 1.1 * one_step < abs(entropy(flat).mean() - entropy(sharp).mean()) / 20


def test_temperatures_stop_at_their_bounds():
    path = heat(torch.zeros(5, 4), 1e4 * torch.eye(4).repeat(2, 1)[:5], 50, rate=0.5)
    assert path[-1].tolist() == [1.0, 10.0] and torch.isfinite(path).all()


def test_equal_entropies_move_nothing():
    logits = torch.randn(5, 4)
    assert (heat(logits, logits, 5) == 1.0).all()


def test_the_released_form_heats_both_when_one_teacher_is_one_hot_and_the_true_form_does_not():
    """Its entropy is negative there, so is the ratio, and both are taken for the sharper one."""
    flat, one_hot = torch.randn(5, 4), 1e3 * torch.eye(4).repeat(2, 1)[:5]
    assert offset_entropy(one_hot).mean() < 0
    assert heat(flat, one_hot, 1, rate=0.1, by_ratio=True).tolist() == [[pytest.approx(1.1)] * 2]
    assert heat(flat, one_hot, 1, rate=0.1).tolist() == [[1.0, pytest.approx(1.1)]]


def test_controllers_together_weigh_their_own_terms_and_resume_from_their_buffers():
    def build():
        return Together(LossRatio(("a", "b"), rate=0.3), EntropyBalance(("c", "d"), rate=0.1))

    def step(controller, k):
        return controller({**means(1 + k, 2), "c": torch.tensor(0.5), "d": torch.tensor(0.2 * k)})

    whole, half, resumed = build(), build(), build()
    for k in range(4):
        last = step(whole, k)
    for k in range(2):
        step(half, k)
    resumed.load_state_dict(half.state_dict())
    assert set(last) == set("abcd")
    for k in range(2, 4):
        again = step(resumed, k)
    assert again == last and torch.equal(whole.controllers[1].temperature, resumed.controllers[1].temperature)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="loss ratio"):
        LossRatio(("a", "b"), start=(0.0, 0.0))
    with pytest.raises(ValueError, match="entropy balance"):
        EntropyBalance(("a", "b"), start=0.5)
