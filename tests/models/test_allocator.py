"""What the C library does with freed memory, seen by the pages that a process has to map anew."""

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, torch
from rolesum.models.allocator import keep_freed_memory
print(keep_freed_memory())
for _ in range(3):
    a, b = torch.ones(3_000_000), torch.ones(3_000_000)
    del a, b
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    a, b = torch.ones(3_000_000), torch.ones(3_000_000)
    del a, b
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


def kept_and_faults(**settings):
    left = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env=left | settings, capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


def test_freed_memory_is_used_again_without_mapping_it_anew():
    kept, faults = kept_and_faults()
    assert kept
    # Ten times 24 MB are 58,600 pages of 4 KiB.
    assert faults < 6_000


def test_what_the_environment_says_goes_before():
    kept, faults = kept_and_faults(MALLOC_MMAP_THRESHOLD_="1000000")
    assert not kept
    assert faults > 50_000
