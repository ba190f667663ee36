"""Lets the tests here import the ranks that are threads, and the core's toy task."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "core")]
