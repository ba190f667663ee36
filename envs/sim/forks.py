"""Thread pools and ``fork``: the child has the memory of its parent and none of its threads.

Whoever waits for such a pool in the child waits for ever, even to free it.  So each pool is left alone there, and its
owner is told to open another one when it is next needed.
"""

from __future__ import annotations

import ctypes
import os
from typing import Protocol
from weakref import WeakSet


class Owner(Protocol):
    """Whoever has a thread pool."""

    def forked(self) -> object:
        """Take note, in a child, that the threads are gone; gives the pool."""
        ...


_owners: WeakSet[Owner] = WeakSet()


def tell(owner: Owner) -> None:
    """Call ``owner.forked`` in every child that this process makes by ``fork``."""
    _owners.add(owner)


def _in_child() -> None:
    for owner in _owners:
        # one reference more than there will ever be: freeing it would wait for its threads
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner.forked()))


os.register_at_fork(after_in_child=_in_child)
