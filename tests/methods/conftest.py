"""Lets the tests here import their rows and the core's toy task, and keeps torch to one thread."""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "core")]
torch.set_num_threads(1)
