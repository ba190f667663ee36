"""Whether an error can be told in another process as what it is."""

from __future__ import annotations


def comes_through(error: Exception) -> bool:
    """Whether another process that gets its class and its arguments has the same error: so they travel."""
    try:
        return str(type(error)(*error.args)) == str(error)
    except Exception:
        return False
