"""A process that keeps its memory asks the kernel for fewer fresh pages, and computes the same."""

import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from embodkd.core.memory import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
first = [torch.ones(1_000_000) for _ in range(40)]
del first
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
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
