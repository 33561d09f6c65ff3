"""What the C library does with freed memory, by its own account of it: that does not depend on the machine's load."""

import os
import platform
import subprocess
import sys

import pytest

# `hblks`: blocks mapped for themselves, which are given back when they are freed. `arena`: the size of the heap.
COUNT = """
import ctypes, torch
from rolesum.models.allocator import keep_freed_memory

class MallInfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = MallInfo2

def tensors():
    return torch.ones(3_000_000), torch.ones(3_000_000)

print(keep_freed_memory())
torch.ones(1)
begin = mallinfo2()
held = tensors()
mapped = mallinfo2().hblks - begin.hblks
del held
kept = mallinfo2().fordblks - begin.fordblks
heaps = []
for _ in range(20):
    held = tensors()
    del held
    heaps.append(mallinfo2().arena)
print(mapped, kept, heaps[-1] - heaps[9])
"""

_NAME, _VERSION = platform.libc_ver()
pytestmark = pytest.mark.skipif(
    _NAME != "glibc" or tuple(map(int, _VERSION.split(".")[:2])) < (2, 33), reason="the C library is not glibc 2.33"
)


TWO_TENSORS = 2 * 4 * 3_000_000  # bytes


def measured(**settings):
    """Whether the allocator was set; blocks mapped for two tensors; bytes kept once they are freed; later growth."""
    left = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env=left | settings, capture_output=True, text=True, check=True
    )
    done_set, *figures = done.stdout.split()
    return done_set == "True", *map(int, figures)


def test_freed_memory_is_kept_and_used_again():
    assert measured() == (True, 0, pytest.approx(TWO_TENSORS, rel=0.1), 0)


def test_what_the_environment_says_goes_before():
    done_set, mapped, kept, _ = measured(MALLOC_MMAP_THRESHOLD_="1000000")
    assert (done_set, mapped) == (False, 2)
    assert kept < TWO_TENSORS / 10
