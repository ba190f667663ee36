"""Every registered network with the recipe that moves it, and each optimiser once."""

import torch
from every_network import ANSWERS, ITEMS, NAMES, trunk_and_batch

from embodkd.core import Optimiser, Player, Role, TensorData, cross_entropy, fit
from embodkd.models import MODELS
from embodkd.parts.players.imitation import imitator

CASES = [*((name, "adam") for name in NAMES), *(("policy depth_cnn", other) for other in ("adamw", "sgd"))]


def lesson(name, optimiser):
    """A network with fresh weights and the recipe that moves it: two epochs of two updates."""
    network, batch = trunk_and_batch(name)
    generator = torch.Generator().manual_seed(1)
    how = Optimiser(optimiser, 1e-3)
    if name in MODELS and MODELS.get(name).judged_as == "language":
        player = Player(Role(network), lambda b, s: {"token": cross_entropy(s.logits_NTV, b.tokens_NT)}, optimiser=how)
    elif name in MODELS:
        batch = batch.merge(label=torch.randint(ANSWERS, (ITEMS,), generator=generator))
        player = Player(Role(network), lambda b, s: {"label": cross_entropy(s.logits_NC, b.label_N)}, optimiser=how)
    else:
        steps = (network.horizon,) if hasattr(network, "horizon") else ()
        actions = torch.rand(ITEMS, *steps, ANSWERS, generator=generator)
        if steps:
            network.fit_normalisers(batch, actions)
        batch, player = batch.merge(target=actions), imitator(network, "target", how)
    return network, fit(player, TensorData(dict(batch)), epochs=2, batch_size=3)
