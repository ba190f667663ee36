"""Where what is fetched or worked out once is kept for all runs of a user."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$EMBODKD_CACHE, else $XDG_CACHE_HOME/embodkd, else ~/.cache/embodkd."""
    own = os.environ.get("EMBODKD_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embodkd"
