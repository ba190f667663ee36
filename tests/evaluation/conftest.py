"""Lets the tests here import their coin task."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
