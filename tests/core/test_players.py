"""What a player may be given: prepared fields, a second view of itself, a controller, an earlier self."""

import pytest
import torch
from torch import nn

from embodkd.core import (
    Budget,
    Controller,
    Optimiser,
    Player,
    Recipe,
    Role,
    RunFolder,
    TensorData,
    Trainer,
    cross_entropy,
    fit,
    squared_error,
)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(3, 2, dtype=torch.float64)


def data(n=12):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return TensorData({"input": x, "label": (x[:, 0] > 0).long()})


def train(recipe, **options):
    return Trainer(quiet=True, **options).fit(recipe)


def by_hand(model, loss):
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    loss.backward()
    optimiser.step()


SGD = Optimiser("sgd", 0.1, momentum=0.0)


def test_prepared_fields_are_made_once_per_batch_in_order_and_shared():
    made, seen = [], {"a": [], "b": []}

    def noise(batch):
        made.append(batch.items_count)
        return {"noisy": batch["input"] + torch.randn_like(batch["input"])}

    def doubled(batch):
        return {"doubled": 2 * batch["noisy"]}

    def player(name, seed):
        def terms(batch, s):
            seen[name].append(batch["doubled"])
            return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

        return Player(Role(network(seed), view="doubled"), terms, name=name)

    train(fit([player("a", 0), player("b", 1)], data(), epochs=2, batch_size=6, prepare=[noise, doubled]))
    assert made == [6] * 4
    assert all(torch.equal(a, b) for a, b in zip(seen["a"], seen["b"], strict=True))


def test_two_views_of_one_student_both_send_it_their_gradient():
    student, twin = network(), network()
    source = data()

    def terms(batch, s, other):
        return {"near": squared_error(s.logits_NC, other.logits_NC, detach_target=False)}

    def shifted(batch):
        return {"shifted": batch["input"].flip(0)}

    role = Role(student)
    player = Player(role, terms, given={"other": Role(student, view="shifted")}, optimiser=SGD)
    train(fit(player, source, batch_size=12, prepare=[shifted]))
    batch = source.gather(torch.arange(12).numpy(), 0)
    order = next(iter_order(source))
    x = batch["input"][order]
    by_hand(twin, squared_error(twin(x), twin(x.flip(0)), detach_target=False).mean())
    torch.testing.assert_close(student.weight, twin.weight)


def iter_order(source):
    from embodkd.core import shuffled

    yield from shuffled(source.size(), 12, 0, 0, 0, 0)


class Halving(Controller):
    """Weight of "ce": 1, 1/2, 1/4, ... by its own memory."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.float64))
        self.means = []

    def forward(self, means):
        self.means.append(float(means["ce"]))
        weight = 0.5 ** float(self.calls)
        self.calls += 1
        return {"ce": weight}


def terms(batch, s):
    return {"ce": cross_entropy(s.logits_NC, batch.label_N)}


def test_a_controller_sees_the_means_and_scales_the_update():
    student, twin, controller = network(), network(), Halving()
    train(fit(Player(Role(student), terms, weights=controller, optimiser=SGD), data(), epochs=3, batch_size=12))
    batch = data().gather(torch.arange(12).numpy(), 0)
    for k in range(3):
        loss = cross_entropy(twin(batch["input"]), batch.label_N).mean()
        assert controller.means[k] == pytest.approx(float(loss.detach()), rel=1e-12)
        twin.zero_grad()
        by_hand(twin, loss * 0.5**k)
    torch.testing.assert_close(student.weight, twin.weight)


def test_a_controller_that_names_a_missing_term_is_an_error():
    class Wrong(Controller):
        def forward(self, means):
            return {"cee": 1.0}

    with pytest.raises(ValueError, match="did you mean 'ce'"):
        train(fit(Player(Role(network()), terms, weights=Wrong()), data()))


def test_a_controllers_memory_and_a_snapshot_survive_a_resume(tmp_path):
    """A step writes the snapshot's weights; a run cut after it goes on as if nothing had happened."""

    class Stop(Exception):
        pass

    def recipe(student, former, controller, stop=False):
        def remember(context):
            former.load_state_dict(student.state_dict())

        def cut(context):
            if stop:
                raise Stop

        def against(batch, s, t):
            return {"ce": cross_entropy(s.logits_NC, batch.label_N), "away": squared_error(s.logits_NC, t.logits_NC)}

        first = fit(Player(Role(student), terms, weights=controller, optimiser=SGD), data(), epochs=2, batch_size=6)
        player = Player(
            Role(student), against, given={"t": Role(former, "snapshot")}, weights=controller, optimiser=SGD
        )
        second = fit(player, data(), epochs=2, batch_size=6)
        return Recipe((*first.stages, remember, cut, *second.stages), student)

    whole, cut = network(), network()
    with RunFolder.open(tmp_path / "whole", {}, False) as run:
        Trainer(run, quiet=True).fit(recipe(whole, network(7), Halving()))
    with pytest.raises(Stop), RunFolder.open(tmp_path / "cut", {}, False) as run:
        Trainer(run, quiet=True).fit(recipe(cut, network(7), Halving(), stop=True))
    resumed = network(9)
    with RunFolder.open(tmp_path / "cut", {}, True) as run:
        Trainer(run, quiet=True).fit(recipe(resumed, network(8), Halving()))
    assert torch.equal(resumed.weight, whole.weight)


def test_a_budget_counts_epochs_or_updates():
    player = Player(Role(network()), terms)
    assert Budget(epochs=3, batch_size=5).fit(player, data()).stages[0].updates() == 9
    assert Budget(updates=7, batch_size=5).fit(player, data()).stages[0].updates() == 7
    assert Budget(epochs=3, batch_size=5).stage(player, data(), epochs=1).updates() == 3
