"""Every registered model and policy draws for an item the same in whatever share of the batch it lies."""

import pytest
import torch
from every_network import ITEMS, NAMES, trunk_and_batch
from torch.nn.modules.batchnorm import _BatchNorm

from embodkd.core import Role, Signals
from embodkd.core.batch.draws import seed_draws
from embodkd.core.batch.layers import whole_layers
from embodkd.core.batch.whole import Portion


@pytest.mark.parametrize("name", NAMES)
def test_a_network_in_training_answers_for_a_share_as_for_the_whole_batch(name):
    model, batch = trunk_and_batch(name)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()  # its statistics have tests of their own, on real processes
    role, place, found = Role(model), torch.tensor([4, 1, 2]), []
    for here in (torch.arange(ITEMS), place):
        seed_draws(torch.device("cpu"), 3, 1)
        with whole_layers(Portion(here, ITEMS, processes=2)), torch.no_grad():
            found.append(role.signals(Signals({key: values[here] for key, values in batch.items()}))["logits"])
    everything, share = found
    spread = everything - everything.mean(0)  # what sets items apart, however small
    torch.testing.assert_close(share, everything[place], rtol=1e-5, atol=1e-4 * float(spread.abs().max()))
