"""Whether work takes time in proportion to what it is given: a service reads texts that are made to freeze it."""

import gc
import time
from collections.abc import Callable
from typing import Any

FACTOR = 4
# Four times as much may take up to eight times as long: what is quadratic takes sixteen times.
SLACK, NOISE = 8, 0.5  # the latter in seconds


def assert_linear(work: Callable[[Any], object], make: Callable[[int], Any], size: int) -> None:
    """`work` on what `make` gives for `size`, and for four times that; tried again where a busy machine was slow."""
    for _ in range(3):
        small, large = (_seconds(work, make(count)) for count in (size, FACTOR * size))
        if large < SLACK * small + NOISE:
            return
    raise AssertionError(f"{size}: {small:.2f} s, {FACTOR * size}: {large:.2f} s")


def _seconds(work: Callable[[Any], object], given: Any) -> float:
    gc.collect()
    gc.disable()  # its time is that of all that the process holds
    try:
        begun = time.process_time()
        work(given)
        return time.process_time() - begun
    finally:
        gc.enable()
