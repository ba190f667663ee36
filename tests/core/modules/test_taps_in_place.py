"""A tap gives what its layer gave, value and gradient, also where a later layer writes over it; copies only there."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from embodkd.core import Role, Signals, Tap, tapped
from embodkd.models import make_model


def block(inplace=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace), nn.Conv2d(4, 2, 3))


def images(seed=1):
    return Signals({"input": torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))})


def resnet(stem):
    torch.manual_seed(0)
    widths = {} if stem == "cifar" else {"size": "resnet18", "widths": [4, 6, 8, 10], "stem_width": 4}
    return make_model("resnet", (3, 32, 32), 10, stem=stem, **widths)


def gives_a_tensor(model, batch):
    """The submodules whose output is a tensor, or begins with one."""
    found = []
    hooks = [
        module.register_forward_hook(
            lambda _, __, out, name=name: found.append(name) if isinstance(out, torch.Tensor) else None
        )
        for name, module in model.named_modules()
        if name
    ]
    model.eval()(batch["input"])
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(found))


def truth(model, names, batch):
    """Copies that hooks take of what each layer gives."""
    copies = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: copies.update({name: out + 0}))
        for name in names
    ]
    return copies, hooks


@pytest.mark.parametrize(("stem", "taps", "overwritten"), [("cifar", 120, 36), ("imagenet", 113, 32)])
@pytest.mark.parametrize("part", ["frozen", "train"])
def test_every_tap_of_a_residual_network_is_what_its_layer_gave(stem, taps, overwritten, part):
    model, batch = resnet(stem), images()
    names = gives_a_tensor(model, batch)
    assert len(names) == taps
    copies, hooks = truth(model, names, batch)
    role = Role(model.train(), part, taps={name.replace(".", "/"): name for name in names})
    for _ in range(2):  # the first pass, and one that knows who writes
        s = role.signals(batch)
        assert all(torch.equal(s[name.replace(".", "/")], copies[name]) for name in names)
    for hook in hooks:
        hook.remove()
    assert len(role._unwritten) == taps - overwritten


def test_gradients_are_those_of_the_network_without_writing():
    batch, slopes = images(), []
    for inplace in (True, False):
        model = resnet("cifar").double()
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = inplace
        names = gives_a_tensor(model, Signals({"input": batch["input"].double()}))
        role = Role(model.train(), taps={name.replace(".", "/"): name for name in names})
        for _ in range(2):
            s = role.signals(Signals({"input": batch["input"].double()}))
        sum(s[n.replace(".", "/")].cos().sum() for n in names).backward()
        slopes.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(slopes[0]) == len(slopes[1]) > 20
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b)


def test_nothing_is_copied_where_nobody_writes():
    model, given = block(inplace=False), []
    model[1].register_forward_hook(lambda _, __, out: given.append(out))
    role = Role(model, "frozen", taps={"norm": "1", "into": Tap("1", input=True)})
    for _ in range(2):
        assert role.signals(images())["norm"] is given[-1]


def test_the_small_block():
    model, batch = block(), images()
    s = Role(model, "frozen", taps={"norm": "1"}).signals(batch)
    assert s["norm"].min() < 0 and torch.equal(s["norm"], Role(model[:2], "frozen").signals(batch).logits)


@pytest.mark.parametrize("place", [Tap("2", input=True), Tap("0.attend", attention=True)])
def test_inputs_and_scores_that_are_written_over_are_kept_too(place):
    class Scores(nn.Module):
        def forward(self, x):
            scores = x @ x.transpose(-2, -1)
            answer = F.softmax(scores, -1) @ x
            scores.zero_()
            return answer

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = Scores()

        def forward(self, x):
            return self.attend(x)

    model = nn.Sequential(Whole(), nn.Identity(), nn.ReLU(inplace=True))
    x = torch.randn(2, 5, 3)
    wanted = Whole()(x) if place.input else x @ x.transpose(-2, -1)
    role = Role(model, "frozen", taps={"t": place})
    for _ in range(2):
        assert torch.equal(role.signals(Signals({"input": x}))["t"], wanted)


def test_what_is_put_in_a_layers_place_is_not_written_over():
    stored = torch.randn(2, 4, 6, 6)
    before = stored.clone()
    role = Role(block(), "frozen", taps={"norm": Tap("1", replace=lambda _: stored)})
    for _ in range(2):
        s = role.signals(images())
        assert torch.equal(stored, before) and torch.equal(s["norm"], before)


def test_what_is_known_holds_for_the_mode_in_which_it_was_seen():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5, inplace=True))
    judge, batch = Role(model, mode="eval", taps={"h": "0"}), Signals({"input": torch.randn(5, 3)})
    learner = Role(model, taps={"h": "0"})
    learner._unwritten = judge._unwritten
    judge.signals(batch)
    for _ in range(2):
        torch.testing.assert_close(learner.signals(batch)["h"], model[0](batch["input"]))


def test_a_value_that_is_lost_is_an_error_once_and_a_copy_from_then_on():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    role, batch = Role(model, "frozen", taps={"h": "0"}), Signals({"input": torch.randn(5, 3)})
    role.signals(batch)
    model[1].inplace = True
    with pytest.raises(ValueError, match="tap 'h': in this pass the network wrote over its value"):
        role.signals(batch)
    for _ in range(2):
        assert torch.equal(role.signals(batch)["h"], model[0](batch["input"]))


def test_inference_mode_copies_always():
    model, x = block(), images()["input"]
    unwritten = set()
    with torch.inference_mode():
        for _ in range(2):
            with tapped(model.eval(), {"norm": "1"}, unwritten) as captured:
                model(x)
            assert captured["norm"].min() < 0 and not unwritten


def test_taps_work_inside_function_transforms():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 1)).double()
    batch = Signals({"input": torch.randn(5, 3).double()})
    role = Role(model, mode="eval", taps={"h": "0"})
    named = dict(model.named_parameters())

    def loss(weights):
        s = role.signals(batch, weights)
        return s["h"].square().sum() + s["logits"].sum()

    def plain(weights):
        h = F.linear(batch["input"], weights["0.weight"], weights["0.bias"])
        return h.square().sum() + F.linear(h.relu(), weights["2.weight"], weights["2.bias"]).sum()

    for _ in range(2):
        found, wanted = torch.func.grad(loss)(named), torch.func.grad(plain)(named)
        for name in named:
            torch.testing.assert_close(found[name], wanted[name])
