"""Lets the tests here import how assemblies are played."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
