"""Rows of a growing module come and go together, and a state of any number of things can be loaded."""

import copy

import pytest
import torch
from growth import Bumps
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from toy import fingerprint

from embodkd.core import regrown
from embodkd.core.modules.growing import origins


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=9))
def test_every_row_is_the_one_that_it_was_made_of_or_the_next_new_one(rows):
    model, before = Bumps(4), Bumps(4)
    model.age += torch.arange(4)
    new = [k for k, row in enumerate(rows) if row < 0]
    fresh = torch.arange(2.0 * len(new), dtype=torch.float64).view(-1, 2)
    model.regrow(torch.tensor(rows), {"centres": fresh})
    for k, row in enumerate(rows):
        wanted = fresh[new.index(k)] if row < 0 else before.centres[row]
        assert torch.equal(model.centres[k], wanted)
        assert model.heights[k] == (0.0 if row < 0 else before.heights[row])
        assert model.age[k] == max(row, 0)
    assert isinstance(model.centres, nn.Parameter) and dict(model.named_buffers()).keys() == {"age"}


def test_leaving_out_bumps_of_no_height_leaves_the_curve():
    model, x = Bumps(4), torch.randn(9, 2, dtype=torch.float64)
    model.heights.data[1] = 0.0
    before = model(x)
    model.regrow(torch.tensor([0, 2, 3]))
    torch.testing.assert_close(model(x), before)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_state_of_any_number_of_things_is_loaded_and_another_kind_is_refused(count):
    model, other = Bumps(4), Bumps(count, seed=1)
    before, learns = model.centres, model.heights.requires_grad_(False).requires_grad
    holder = nn.ModuleDict({"inner": model})
    holder.load_state_dict(nn.ModuleDict({"inner": other}).state_dict())
    assert fingerprint(model) == fingerprint(other) and len(model.heights) == count
    # the same number: the same tensors, so that an optimiser may go on
    assert (model.centres is before) == (count == 4) and model.heights.requires_grad == learns
    state = {**other.state_dict(), "centres": torch.zeros(3, 5)}
    with pytest.raises(RuntimeError, match="size mismatch for centres"):
        model.load_state_dict(state)


@pytest.mark.parametrize(
    ("rows", "fresh", "message"),
    [
        ([4], {}, "rows below 4"),
        ([-1, 0], {"centres": torch.zeros(2, 2)}, r"shape \(1, 2\), their values \(2, 2\)"),
        ([-1], {"level": torch.zeros(1)}, "'level' has no row per thing"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(rows, fresh, message):
    model, before = Bumps(4), fingerprint(Bumps(4))
    with pytest.raises(ValueError, match=message):
        model.regrow(torch.tensor(rows), fresh)
    assert fingerprint(model) == before


def test_what_a_parameter_was_made_of_is_known_as_long_as_somebody_has_it():
    first = nn.Parameter(torch.arange(3.0))
    second = regrown(first, torch.tensor([2, -1, 0]))
    third = regrown(second, torch.tensor([1, 0]))
    assert [(o is first, o is second, rows.tolist()) for o, rows in origins(third)] == [
        (False, True, [1, 0]), (True, False, [-1, 2])
    ]  # fmt: skip
    assert origins(copy.deepcopy(third)) == []
    del second
    assert [rows.tolist() for _, rows in origins(third)] == [[-1, 2]]
    del first
    assert origins(third) == []
