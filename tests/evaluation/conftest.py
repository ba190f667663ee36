"""Lets the tests here import their coin task, and keeps torch to one thread: small matrices are slower on two."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
