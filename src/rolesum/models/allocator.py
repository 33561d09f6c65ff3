"""Memory: configures the C library's allocator to keep what is freed, and tells errors of memory from others.

By default glibc gives the memory of large tensors back to the system and asks for it again an operator later: every
page of it is then mapped and cleared again, which can cost more than the operator itself.
"""

import ctypes
import os

import torch

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Allocations below this come from the heap (the most that glibc takes); so much free memory at its end is kept.
FROM_HEAP, KEPT = 32 * 2**20, 2**30


def keep_freed_memory() -> bool:
    """Keep freed memory, in the whole process. False if the C library is not glibc or the environment configures it."""
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, FROM_HEAP) and mallopt(M_TRIM_THRESHOLD, KEPT))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python or torch got no memory: torch has OutOfMemoryError for GPUs, a RuntimeError for a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
