"""Groups of parameters: without them torch's optimiser is the plain one; with them each parameter has its own rate."""

from fnmatch import fnmatchcase

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from toy import fingerprint

from embodkd.core import Budget, Group, Optimiser, Player, Recipe, Role, TensorData, Trainer, fit, squared_error


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


DECAYS = {"weight_decay": 0.1}
PLAIN = [
    (Optimiser("sgd", 0.1, **DECAYS), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, **DECAYS)),
    (Optimiser("adam", 0.1, **DECAYS), lambda p: torch.optim.Adam(p, lr=0.1, fused=True, **DECAYS)),
    (Optimiser("adamw", 0.1, **DECAYS), lambda p: torch.optim.AdamW(p, lr=0.1, fused=True, **DECAYS)),
]


@pytest.mark.parametrize(("ours", "plain"), PLAIN, ids=["sgd", "adam", "adamw"])
@pytest.mark.parametrize("groups", [(), (Group("*"),), (Group("*", rate=1.0, weight_decay=0.1),)])
def test_without_groups_it_is_torchs_own_to_the_bit(ours, plain, groups):
    ours = Optimiser(ours.name, ours.learning_rate, ours.weight_decay, groups=groups)
    models, slopes = (network(), network()), torch.Generator().manual_seed(1)
    built = ours.build(dict(models[0].named_parameters())), plain(models[1].parameters())
    assert built[0].state_dict()["param_groups"] == built[1].state_dict()["param_groups"]
    for _ in range(5):
        for one, other in zip(*(model.parameters() for model in models), strict=True):
            one.grad = other.grad = torch.randn(one.shape, generator=slopes)
        for each in built:
            each.step()
    assert fingerprint(models[0]) == fingerprint(models[1])


PATTERNS = st.sampled_from(
    ["*", "0.*", "1.*", "2.weight", "*.bias", "*.weight", "[02].*", "helper.*", "helper.up.bias"]
)
GROUPS = st.lists(st.tuples(PATTERNS, st.floats(0, 4), st.none() | st.floats(0, 1)), max_size=4)


@given(GROUPS, st.floats(0.1, 1.0), st.booleans())
def test_each_parameter_has_the_rate_and_decay_that_the_rules_say(groups, layer_decay, decay_biases):
    """The rules said again, for one parameter at a time."""
    player = Player(Role(network()), dict, helpers={"up": nn.Linear(2, 3)})
    given = tuple(Group(*group) for group in groups)
    optimiser = Optimiser(
        "sgd", 1.0, weight_decay=0.5, groups=given, layer_decay=layer_decay, decay_biases=decay_biases
    )
    named = player.named_parameters()
    bundles = optimiser.bundles(named)
    assert sorted(name for bundle in bundles for name in bundle.names) == sorted(named)
    for bundle in bundles:
        for name in bundle.names:
            fitting = [group for group in groups if fnmatchcase(name, group[0])]
            _, rate, decay = fitting[0] if fitting else ("", 1.0, None)
            below = 0 if name.startswith("helper") else 3 - int(name[0])
            assert bundle.factor(3, 10) == layer_decay**below * rate
            assert bundle.weight_decay == (
                0.0 if named[name].ndim < 2 and not decay_biases else 0.5 if decay is None else decay
            )


def test_depths_and_patterns_count_parameters_that_do_not_learn_now():
    model = network()
    model[0].requires_grad_(False)
    player = Player(Role(model), dict)
    named, everything = player.named_parameters(), player.named_parameters(fixed=True)
    assert list(everything) == [name for name, _ in model.named_parameters()] and "0.weight" not in named
    bundles = Optimiser(groups=(Group("0.*", rate=2.0),), layer_decay=0.5).bundles(named, everything)
    assert {name: b.factor(0, 1) for b in bundles for name in b.names} == {
        "1.weight": 0.25, "1.bias": 0.25, "2.weight": 0.5, "2.bias": 0.5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fitted(groups=(Group("haed.*"),)), "groups: 'haed.*' fits none of 4 parameters; the nearest are head"),
        (lambda: Optimiser(groups=(Group("*", rate=-1.0),)), "the rate of '.*' must be at least 0"),
        (lambda: Optimiser(layer_decay=0.0), "layer_decay: must be above 0"),
        (lambda: Budget.of({"optimiser": {"groups": [{"patern": "*"}]}}), "unknown key 'patern'.*'pattern'"),
        (lambda: Budget.of({"optimiser": {"groups": [{"pattern": "*", "rate": {"strat": 1}}]}}), "'start'"),
        (lambda: Budget.of({"optimiser": {"layer_decay": 1.5}}), "layer_decay: must be float above 0 to 1"),
        (lambda: Player(Role(nn.ModuleDict({"helper": nn.Linear(1, 1)})), dict, helpers={"x": nn.Linear(1, 1)}), None),
    ],
)  # fmt: skip
def test_mistakes_are_named(make, message):
    if message is None:
        assert list(make().named_parameters())[:2] == ["helper.weight", "helper.bias"]
        return
    with pytest.raises(ValueError, match=message):
        make()


def fitted(**optimiser):
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    return Optimiser(**optimiser).build(dict(model.named_parameters()))


def test_names_that_meet_are_refused_and_shared_parameters_move_once():
    inner = nn.ModuleDict({"helper": nn.ModuleDict({"up": nn.Linear(1, 1)})})
    with pytest.raises(ValueError, match="two parameters are called 'helper.up.weight'"):
        Player(Role(inner), dict, helpers={"up": nn.Linear(1, 1)}).parameters()
    model = network()
    assert len(Player(Role(model), dict, helpers={"again": model[0]}).parameters()) == len(list(model.parameters()))


def test_moments_are_not_kept_where_they_would_mean_something_else():
    data = TensorData({"input": torch.zeros(4, 3)})

    def stage(kind, **player):
        player = Player(Role(model), squared_error, optimiser=Optimiser(kind), **player)
        return fit(player, data).stages[0]

    model = network()
    with pytest.raises(ValueError, match="keep_moments, but sgd cannot go on with what adam remembers"):
        Recipe((stage("adam", keep_moments=True), lambda context: None, stage("sgd")), model)
    Recipe((stage("adam", keep_moments=True), stage("adamw"), stage("sgd")), model)
    twins = [Player(Role(network()), squared_error, keep_moments=k == 0) for k in range(2)]
    with pytest.raises(ValueError, match="two of one stage are called so"):
        fit(twins, data)


def test_the_rate_that_is_logged_is_the_one_before_groups(tmp_path):
    from embodkd.core import RunFolder

    model = network()
    data = TensorData({"input": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), "y": torch.zeros(4, 2)})
    before = fingerprint(model[0])
    optimiser = Optimiser("adam", 0.25, groups=(Group("0.*", rate=0.0), Group("1.*", rate=3.0)))
    player = Player(Role(model), lambda b, s: {"e": squared_error(s.logits_NC, b["y"])}, optimiser=optimiser)
    with RunFolder.open(tmp_path / "run", {}) as run:
        Trainer(run, quiet=True, log_every=1).fit(fit(player, data, epochs=2))
        assert [row["student/learning_rate"] for row in run.metrics()] == [0.25, 0.25]
    assert fingerprint(model[0]) == before
