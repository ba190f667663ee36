"""What nobody holds any more is gone: a process that builds many networks needs the memory of one."""

import gc
import weakref

import pytest
from every_network import NAMES, trunk_and_batch

from embodkd.core import Role


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_nobody_has_is_gone_with_all_its_parts(name):
    model, batch = trunk_and_batch(name)
    Role(model, "frozen").signals(batch)
    parts = {key: weakref.ref(part) for key, part in model.named_modules()}
    del model, batch
    if any(part() is not None for part in parts.values()):
        gc.collect()
    assert [key for key, part in parts.items() if part() is not None] == []
