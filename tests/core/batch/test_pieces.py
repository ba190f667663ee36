"""A batch in pieces: one step of every controller, the same draws, and errors for what needs the batch whole."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from embodkd.core import (
    Controller,
    Optimiser,
    Player,
    Role,
    Signals,
    TensorData,
    Trainer,
    cross_entropy,
    entropy,
    fit,
    kl,
    shuffled,
)
from embodkd.core.batch.draws import Replay, seed_draws
from embodkd.core.batch.layers import whole_layers
from embodkd.core.batch.pieces import Piece, prepared_pieces, shares, with_partners
from embodkd.core.batch.whole import Portion, drawn, looking_at, own
from embodkd.core.terms import TERMS
from embodkd.methods.even_teacher import Share
from embodkd.parts.players.balance import EntropyBalance, LossRatio, Together
from embodkd.parts.players.turns import Turns, _Watch

CPU = torch.device("cpu")


def data(n=48):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return TensorData({"input": x, "label": (torch.arange(n) * 7) % 3})


def network(*last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), *last, nn.Linear(8, 3)).double()


class Mine(Controller):
    """Somebody's own: the mean of what the term came to so far, in the update itself too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("sum", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("updates", torch.tensor(0))

    def forward(self, means):
        self.sum += means["label"]
        self.updates += 1
        return {"teacher": self.sum / self.updates}


def turns():
    return Turns(0.9, 0.95, patience=2)


CONTROLLERS = {
    LossRatio: lambda: LossRatio(("label", "teacher"), rate=0.3),
    EntropyBalance: lambda: EntropyBalance(("hot", "cold"), rate=0.3, start=2.0),
    Together: lambda: Together(
        LossRatio(("label", "teacher"), rate=0.3), EntropyBalance(("hot", "cold"), rate=0.3, start=2.0)
    ),
    Share: lambda: Share(0.3, 0.0),
    _Watch: lambda: turns().watching(0, "label", {"label": 0.5}),
    Mine: Mine,
}


def every_controller(kind=Controller):
    for found in kind.__subclasses__():
        if found.__module__.startswith("embodkd") or found is Mine:
            yield found
        yield from every_controller(found)


def controlled(make, accumulate):
    """12 updates under a controller; in the terms the teachers' temperatures are its own, where it has some."""
    controller, student = make().double(), network()
    teachers = [network() for _ in range(2)]
    for k, teacher in enumerate(teachers):
        teacher[-1].weight.data.mul_(3.0 + k)
    heats = [m.temperature for m in controller.modules() if isinstance(m, EntropyBalance)]

    def terms(batch, s, a, b):
        heat = heats[0] if heats else torch.ones(2, dtype=torch.float64)
        hot, cold = a.logits_NC / heat[0], b.logits_NC / heat[1]
        found = {"label": cross_entropy(s.logits_NC, batch.label_N), "teacher": kl(s.logits_NC, hot)}
        return found | {"hot": entropy(hot), "cold": entropy(cold), "decay": 0.0 * found["label"]}

    given = {"a": Role(teachers[0], "frozen"), "b": Role(teachers[1], "frozen")}
    player = Player(Role(student), terms, given, controller, optimiser=Optimiser("sgd", 0.1))
    Trainer(quiet=True, accumulate=accumulate).fit(fit(player, data(), epochs=3, batch_size=12))
    return {**student.state_dict(), **{f"controller.{k}": v for k, v in controller.state_dict().items()}}


def test_every_controller_of_the_package_is_tried():
    assert set(every_controller()) == set(CONTROLLERS)


@pytest.mark.parametrize("kind", CONTROLLERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("accumulate", [4, 5, 12])
def test_a_controller_steps_once_per_update_whatever_the_pieces(kind, accumulate):
    whole, pieces = controlled(CONTROLLERS[kind], 1), controlled(CONTROLLERS[kind], accumulate)
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, rtol=1e-9, atol=1e-12)
    counted = [v for k, v in pieces.items() if k.endswith("updates")]
    assert all(int(value) == 12 for value in counted)


def test_two_players_that_take_turns_take_the_same_ones_in_pieces():
    found = []
    for accumulate in (1, 3):
        order, players, models = turns(), [], []
        for k in range(2):
            models.append(network())
            watching = order.watching(k, "label", {"label": 1.0 if k == 0 else -0.5})

            def terms(batch, s):
                return {"label": cross_entropy(s.logits_NC, batch.label_N)}

            optimiser = Optimiser("sgd", 0.5)
            players.append(
                Player(Role(models[k]), terms, weights=watching, when=order.of(k), optimiser=optimiser, name=f"p{k}")
            )
        Trainer(quiet=True, accumulate=accumulate).fit(fit(players, data(), epochs=4, batch_size=12, in_turn=True))
        found.append([*order.state_dict().values(), *(p.detach() for m in models for p in m.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in TERMS.names() if TERMS.metadata(n).get("relational")])
def test_a_piece_is_refused_by_name_or_has_the_values_of_the_whole_batch(name):
    inputs = TERMS.metadata(name)["inputs"]
    term, shape = TERMS.get(name), (6, 2, 5) if "tokens" in inputs or "pairs" in inputs else (6, 5)
    torch.manual_seed(0)
    one, other = torch.randn(shape), torch.randn(shape)
    alone, place = term(one[:3], other[:3]), torch.arange(3)
    depends = not torch.allclose(alone, term(one, other)[:3])
    with looking_at(Portion(place, items=6, pieces=2)):
        if depends:
            with pytest.raises(ValueError, match=rf"{name} .*trainer\.accumulate .*2 pieces"):
                term(one[:3], other[:3])
        else:
            assert torch.equal(term(one[:3], other[:3]), alone)


def test_batch_norm_in_pieces_is_refused_before_training_and_names_the_layer():
    player = Player(
        Role(network(nn.BatchNorm1d(8))), lambda batch, s: {"ce": cross_entropy(s.logits_NC, batch.label_N)}
    )
    with pytest.raises(ValueError, match=r"accumulate=2: layer '2' of player 'student' .*batch norm"):
        Trainer(quiet=True, accumulate=2).fit(fit(player, data(), batch_size=12))
    # one that keeps its statistics does not mind
    still = Player(Role(player.train.model, mode="eval"), player.terms)
    Trainer(quiet=True, accumulate=2).fit(fit(still, data(), batch_size=12))


@pytest.mark.parametrize("function", [F.batch_norm])
def test_a_batch_norm_that_no_layer_announced_is_refused_too(function):
    with whole_layers(Portion(torch.arange(3), 6, pieces=2)), pytest.raises(ValueError, match="batch norm of 4 chann"):
        function(torch.randn(3, 4), None, None, training=True)


def test_the_lone_item_of_a_last_batch_takes_one_from_the_batch_before():
    sizes = [len(index) for index in shuffled(65, 32, 0, least=2)]
    assert sizes == [32, 31, 2]
    assert [len(index) for index in shuffled(65, 32, 0)] == [32, 32, 1]
    order = np.concatenate(list(shuffled(65, 32, 0, least=2)))
    assert (order == np.concatenate(list(shuffled(65, 32, 0)))).all()
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double()
    player = Player(Role(model), lambda batch, s: {"ce": cross_entropy(s.logits_NC, batch.label_N)})
    summary = Trainer(quiet=True).fit(fit(player, data(65), epochs=2, batch_size=32))
    assert summary.updates == 6


@pytest.mark.parametrize(("size", "batch"), [(1, 32), (5, 2), (3, 1)])
def test_a_batch_that_can_never_be_large_enough_is_one_clear_error(size, batch):
    with pytest.raises(ValueError, match=rf"{size} items in batches of {batch} .* choose a larger batch_size"):
        list(shuffled(size, batch, 0, least=2))


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("pieces", [1, 2, 5, 40])
def test_shares_are_all_places_once(processes, pieces):
    index = np.random.default_rng(0).permutation(23)
    each = [list(shares(index, k, processes, pieces)) for k in range(processes)]
    found = [part for own in each for part in own]
    assert len({len(own) for own in each}) == 1
    rows = np.concatenate([own_rows for own_rows, _ in found])
    assert sorted(rows) == sorted(index)
    for own_rows, portion in found:
        if processes == pieces == 1:
            assert portion is None
        else:
            assert (index[portion.place_N.numpy()] == own_rows).all() and portion.items == 23
            assert portion.pieces == min(pieces, 23 // processes)


DROPS = {
    "dropout": lambda x: F.dropout(x, 0.4),
    "dropout2d": lambda x: F.dropout2d(x, 0.4),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.4, training=True),
    "two rows per item": lambda x: F.dropout(x.flatten(0, 1), 0.4).view_as(x),
    "channels last": lambda x: F.dropout(x.contiguous(memory_format=torch.channels_last), 0.4),
    "module": lambda x: nn.Dropout(0.4)(x),
    "drawn": lambda x: x * drawn(len(x), lambda items: torch.rand(items, *x.shape[1:])),
}


@pytest.mark.parametrize("how", DROPS)
def test_a_draw_for_an_item_is_the_same_in_whatever_piece_it_lies(how):
    x = torch.randn(7, 2, 3, 4)
    seed_draws(CPU, 3, 1)
    everything, after = DROPS[how](x), torch.rand(1)
    seed_draws(CPU, 3, 1)
    replay = Replay(CPU)
    for place in (torch.tensor([5, 0]), torch.tensor([1, 2, 3]), torch.tensor([4, 6])):
        replay.again()
        with whole_layers(Portion(place, 7, pieces=3)):
            assert torch.equal(DROPS[how](x[place]), everything[place])
    assert torch.equal(torch.rand(1), after)


def test_draws_of_an_update_are_a_function_of_its_key_alone():
    seed_draws(CPU, 1, 2)
    first = torch.rand(3)
    torch.rand(5)
    seed_draws(CPU, 1, 2)
    assert torch.equal(torch.rand(3), first)
    seed_draws(CPU, 12)
    assert not torch.equal(torch.rand(3), first)


def test_a_draw_that_is_not_per_item_is_an_error():
    with looking_at(Portion(torch.arange(3), 6, pieces=2)), pytest.raises(ValueError, match="5 rows .* 3 items"):
        drawn(5, torch.rand)


def test_functions_that_mix_items_see_all_pieces_and_those_before_them():
    def noisy(batch):
        return {"input": batch.input + drawn(batch.items_count, lambda items: torch.rand(items, 1))}

    @with_partners
    def mixed(batch):
        return {"mixed": 0.5 * (batch.input + batch.input.flip(0))}

    batch = Signals({"input": torch.randn(6, 1)})
    seed_draws(CPU, 0)
    (whole,) = prepared_pieces([Piece(batch)], (noisy, mixed, noisy))
    seed_draws(CPU, 0)
    cut = [Piece(batch.rows(p.place_N), p) for _, p in shares(np.arange(6), pieces=4)]
    pieces = prepared_pieces(cut, (noisy, mixed, noisy))
    for name in ("input", "mixed"):
        assert torch.equal(torch.cat([piece.batch[name] for piece in pieces]), whole.batch[name])


def test_a_function_that_mixes_items_without_saying_so_is_refused_by_name():
    from embodkd.parts.images.mix import mixup

    function = inspect.unwrap(mixup(1.0, 3))
    function.with_partners = False
    batch = data().gather(np.arange(6), 0)
    cut = [Piece(batch.rows(p.place_N), p) for _, p in shares(np.arange(6), pieces=2)]
    with pytest.raises(ValueError, match="mixup compares the items of a whole batch"):
        prepared_pieces(cut, (function,))


def test_own_and_looking_at_nothing_change_nothing():
    rows = torch.randn(4, 2)
    assert own(rows) is rows
    with whole_layers(None):
        assert own(rows) is rows
