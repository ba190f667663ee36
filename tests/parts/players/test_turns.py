"""Turns end at their thresholds, and only the player whose turn it is moves."""

import pytest
import torch
from torch import nn

from embodkd.core import Optimiser, Player, Role, TensorData, Trainer, fit
from embodkd.parts.players.turns import Turns


def told(turns, values):
    """Whose turn it is before each of `values`, which whoever plays then tells."""
    path = []
    for value in values:
        path.append(int(turns.turn))
        turns.see(path[-1], torch.tensor(float(value)))
    return path


def test_the_learner_plays_until_low_and_the_adversary_until_high():
    assert told(Turns(0.2, 0.5, 100), [10, 5, 2.1, 1.9, 1, 3, 6, 4, 1]) == [0, 0, 0, 0, 1, 1, 1, 0, 0]


def test_an_adversary_that_gets_nowhere_ends_after_its_patience():
    assert told(Turns(0.2, 0.5, 3), [10, 1, 1, 1, 1, 1, 1]) == [0, 0, 1, 1, 1, 0, 1]


def test_only_the_player_whose_turn_it_is_moves():
    """Scalars: the learner halves its value in each update, the adversary raises its own by the same factor."""

    class Number(nn.Module):
        reads = "input"

        def __init__(self, value):
            super().__init__()
            self.value = nn.Parameter(torch.tensor(value))

        def forward(self, x):
            return {"value": self.value.expand(len(x))}

    turns, log = Turns(0.3, 0.9, 100), []

    def player(number, name, start, up):
        model = Number(start)

        def terms(batch, s):
            log.append((name, round(float(model.value.detach()), 4), turns.turn.item()))
            return {"gap": s.value, "rest": -s.value if up else s.value}

        weights = {"rest": 1.0, "gap": 0.0}
        return Player(
            Role(model),
            terms,
            weights=turns.watching(number, "gap", weights),
            when=turns.of(number),
            optimiser=Optimiser("sgd", 0.25, momentum=0.0),
            name=name,
        )

    source = TensorData({"input": torch.zeros(4, 1)})
    players = [player(0, "learner", 1.0, False), player(1, "adversary", 0.5, True)]
    Trainer(quiet=True).fit(fit(players, source, batch_size=4, epochs=8, in_turn=True))
    names = [name for name, _, _ in log]
    # 1.0, 0.75, 0.5, 0.25 < 0.3; then 0.5, 0.75, 1.0 > 0.9; then 0.0 < 0.3
    assert names == ["learner"] * 4 + ["adversary"] * 3 + ["learner"]
    assert [value for _, value, _ in log] == [1.0, 0.75, 0.5, 0.25, 0.5, 0.75, 1.0, 0.0]


@pytest.mark.parametrize("wrong", [(0.5, 0.2, 1), (0.0, 1.0, 1), (0.1, 0.2, 0)])
def test_impossible_thresholds_are_refused(wrong):
    with pytest.raises(ValueError, match="turns"):
        Turns(*wrong)
