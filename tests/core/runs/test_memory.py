"""A process that keeps its memory asks the kernel for fewer fresh pages; what it took at most is known."""

import subprocess
import sys

import numpy as np
import pytest

from embodkd.core.runs.memory import peak_memory

COUNT = """
import resource, sys, torch
from embodkd.core.runs.memory import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
first = [torch.ones(1_000_000) for _ in range(40)]
del first
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(6):
    several = [torch.ones(1_000_000) for _ in range(40)]
    del several
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_blocks_are_used_again_instead_of_asking_the_kernel():
    faults = {}
    for way in ("plain", "keep"):
        done = subprocess.run([sys.executable, "-c", COUNT, way], capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip("this C library has no mallopt")
        assert done.returncode == 0, done.stderr
        faults[way] = int(done.stdout)
    assert faults["keep"] * 2 < faults["plain"]


def test_the_peak_grows_by_what_is_held_and_stays_when_it_is_freed():
    before = peak_memory()
    held = np.ones(2**26)  # 512 MiB, touched
    grown = peak_memory()
    del held
    assert peak_memory() >= grown >= before
    assert grown >= 512
