"""Lets the tests here start processes as those of tests/processes do."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("processes", "core")]
