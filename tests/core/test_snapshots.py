"""A snapshot equals the state that it was taken of, whatever the model does afterwards, and whatever kills the run."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from embodkd.core import Context, Role, Signals, Snapshots


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def context(folder, update):
    return Context(folder, 0, torch.device("cpu"), update)


def learn(model, key):
    """Something in place on every parameter and buffer."""
    generator = torch.Generator().manual_seed(key)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(torch.randint(1, 5, value.shape, generator=generator).to(value.dtype))


def recorded(folder, *, numbers=(0, 10, 20), **options):
    model = network()
    snapshots, taken = Snapshots(model, **options), {}
    for number in numbers:
        taken[number] = copy.deepcopy(model.state_dict())
        assert snapshots(context(folder, number))["snapshots/states"] == len(taken)
        learn(model, number)
    return model, snapshots, taken


def batch(update=0):
    x = torch.linspace(-1, 1, 15).reshape(5, 3)
    return Signals(input=x, update=torch.full((5,), float(update)))


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.fixture(params=[True, False], ids=["on disk", "in memory"])
def folder(request, tmp_path):
    return tmp_path if request.param else None


def test_a_snapshot_is_the_state_that_it_was_taken_of_bit_for_bit(folder):
    model, snapshots, taken = recorded(folder)
    assert snapshots.updates == [0, 10, 20]
    for place, number in enumerate(snapshots.updates):
        state = snapshots.state(place)
        assert same(state, taken[number])
        for value in state.values():
            value.zero_()
        assert same(snapshots.state(place), taken[number]), "what is handed out is a copy"
    before = copy.deepcopy(model.state_dict())
    snapshots.signals(batch(10))
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_it_answers_as_the_frozen_role_of_the_state_whose_turn_it_is(folder, order):
    model, snapshots, taken = recorded(
        folder, order=order, interval=3, taps={"hidden": "0"}, output="scores", view="input"
    )
    turns = sorted(taken, reverse=order == "backwards")
    for update in (0, 2, 3, 5, 6, 8, 9, 100, 1):
        past = network()
        past.load_state_dict(taken[turns[min(update // 3, 2)]])
        expected = Role(past, "frozen", output="scores", taps={"hidden": "0"}).signals(batch())
        found = snapshots.signals(batch(update))
        assert set(found) == {"scores", "hidden"} and all(torch.equal(found[n], expected[n]) for n in found)
        assert not found["scores"].requires_grad
    assert model.training


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(0, 200))
def test_each_answers_for_an_interval_and_the_last_for_the_rest(count, interval, first, update):
    snapshots = Snapshots(nn.Linear(1, 1), interval=interval, first=first)
    for number in range(count):
        snapshots(context(None, number))
    path = [min(first + k, count - 1) for k in range(300) for _ in range(interval)]
    assert snapshots.place(update) == path[update]


def test_a_resumed_run_finds_what_lies_there(tmp_path):
    _, snapshots, taken = recorded(tmp_path)
    again = Snapshots(network(), order="backwards")
    again.restore(context(tmp_path, 0))
    assert again.updates == [20, 10, 0] and same(again.state(0), taken[20])
    assert torch.equal(again.signals(batch(1))["logits"], snapshots.signals(batch(1))["logits"])


def test_what_is_recorded_again_after_a_kill_is_as_if_there_had_been_none(folder):
    _, whole, taken = recorded(folder, numbers=(0, 10, 20, 30))
    model = network()
    killed = whole if folder is None else Snapshots(model)
    # the checkpoint was that of update 5: 10, 20 and 30 are made again, 30 not yet
    model.load_state_dict(taken[10])
    killed._of = model
    if folder is not None:
        killed.restore(context(folder, 5))
    assert killed(context(folder, 10))["snapshots/states"] == 2
    assert killed.updates == [0, 10] and same(killed.state(1), taken[10]) and same(killed.state(0), taken[0])
    model.load_state_dict(taken[20])
    killed(context(folder, 20))
    killed(context(folder, 20))
    assert killed.updates == [0, 10, 20] and same(killed.state(2), taken[20])


def test_damage_on_disk_is_named(tmp_path):
    _, snapshots, _ = recorded(tmp_path)
    file = tmp_path / "snapshots" / "snapshots" / "state_10" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-3] + b"abc")
    with pytest.raises(ValueError, match="state_10.*damaged or changed"):
        snapshots.signals(batch(1))


def test_states_keep_their_type():
    model = network().double()
    snapshots = Snapshots(network())
    snapshots._of = model
    snapshots(context(None, 0))
    found = snapshots.signals(batch().map(lambda value: value.double()))
    assert found["logits"].dtype == torch.float64
    assert torch.equal(found["logits"], Role(model, "frozen").signals(batch().map(torch.Tensor.double))["logits"])


def test_a_state_is_handed_to_a_model_that_learns_on(folder):
    model, snapshots, taken = recorded(folder, order="backwards")
    other = network()
    snapshots.handed_to(other, 0)(context(folder, 40))
    assert same(other.state_dict(), taken[20])
    learn(other, 1)
    assert same(snapshots.state(0), taken[20])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="snapshots is empty: what answers by it must come after"):
        Snapshots(nn.Linear(1, 1)).signals(batch())
    with pytest.raises(ValueError, match="order 'random' is not one of"):
        Snapshots(nn.Linear(1, 1), order="random")
    with pytest.raises(ValueError, match="interval must be at least 1"):
        Snapshots(nn.Linear(1, 1), interval=0)


def test_a_process_without_a_folder_takes_the_state_when_the_first_one_has():
    model = network()
    first, other = Snapshots(model), Snapshots(model)
    for number in (0, 10):
        first(context(None, number))
        other.restore(context(None, number))
        learn(model, number)
    assert other.updates == first.updates == [0, 10]
    assert all(same(first.state(place), other.state(place)) for place in (0, 1))
