"""Signals are read by name with checked shapes; taps read, replay and replace without changing the model."""

import pytest
import torch
from torch import nn
from toy import fingerprint

from embodkd.core import Signals, Tap, as_view, field, select, tapped


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2), nn.Tanh()))


def test_a_suffix_states_the_axes_and_is_checked():
    s = Signals({"logits": torch.zeros(2, 3), "action_mean": torch.ones(2, 1)})
    assert s.logits_NC is s.logits is s["logits"] and s.action_mean_NA is s["action_mean"]
    with pytest.raises(AttributeError, match=r"'logits' has shape \(2, 3\), but it was read as 'logits_NTC': 3 axes"):
        s.logits_NTC  # noqa: B018


def test_a_missing_signal_is_answered_with_the_nearest():
    s = Signals({"logits": torch.zeros(2, 3)})
    with pytest.raises(AttributeError, match="no signal 'logit': did you mean 'logits'"):
        s.logit_NC  # noqa: B018
    with pytest.raises(KeyError, match="did you mean 'logits'"):
        s["logit"]


def test_rows_and_merge_keep_names():
    s = Signals({"a": torch.arange(4)}).merge(b=torch.arange(4) * 2)
    assert s.rows(slice(1, 3)).b.tolist() == [2, 4] and set(s) == {"a", "b"} and s.items_count == 4


def test_taps_read_outputs_and_inputs_and_leave_no_trace():
    model = network()
    before, x = fingerprint(model), torch.randn(5, 3)
    plain = model(x)
    with tapped(model, {"hidden": "0", "into": Tap("2.0", input=True), "last": "2"}) as captured:
        assert torch.equal(model(x), plain)
    assert torch.equal(captured["hidden"], model[0](x)) and torch.equal(captured["last"], plain)
    assert torch.equal(captured["into"], captured["hidden"].relu())
    captured.clear()
    model(x)
    assert not captured and fingerprint(model) == before


def test_a_tap_can_replace_what_flows():
    model, x = network(), torch.randn(5, 3)
    with tapped(model, {"h": Tap("0", replace=torch.zeros_like)}):
        zeroed = model(x)
    torch.testing.assert_close(zeroed, model[2](torch.zeros(5, 4)))
    with tapped(model, {"h": Tap("2.0", input=True, replace=lambda h: h * 0)}):
        torch.testing.assert_close(model(x), zeroed)


def test_taps_carry_gradient():
    model, x = network(), torch.randn(5, 3)
    with tapped(model, {"h": "0"}) as captured:
        model(x)
    captured["h"].sum().backward()
    assert model[0].weight.grad.any()


def test_hooks_are_removed_when_the_forward_pass_fails():
    model = network()
    with pytest.raises(RuntimeError), tapped(model, {"h": "0"}):
        model(torch.zeros(5, 99))
    assert not any(m._forward_hooks for m in model.modules())


def test_a_wrong_tap_name_is_answered_with_the_nearest():
    with (
        pytest.raises(ValueError, match=r"Sequential has no submodule '2.O': did you mean .*'2.0'"),
        tapped(network(), {"h": "2.O"}),
    ):
        pass


def test_a_module_that_gives_no_tensor_cannot_be_tapped():
    class Odd(nn.Module):
        def forward(self, x):
            return {"x": x}

    model = nn.Sequential(Odd())
    with pytest.raises(ValueError, match="gives a dict, not a tensor"), tapped(model, {"h": "0"}):
        model(torch.zeros(1))


def test_views_show_only_what_they_select():
    batch = Signals({"image": torch.zeros(2, 1), "proprio": torch.ones(2, 1), "secret": torch.ones(2, 1)})
    assert set(as_view(("image", "proprio"))(batch)) == {"image", "proprio"}
    assert as_view("image")(batch) is batch["image"] and field("secret")(batch) is batch["secret"]
    assert as_view(lambda b: b["image"] + 1)(batch).sum() == 2
    with pytest.raises(ValueError, match="at least one"):
        select()
