"""Whether work takes time in proportion to what it is given: a service reads texts that are made to freeze it."""

import gc
import time
from collections.abc import Callable
from typing import Any

FACTOR = 4
# Four times as much may take up to six times as long: what is quadratic takes sixteen times.
SLACK, NOISE = 6, 0.03  # the latter in seconds
TRIES = 5


def assert_linear(
    work: Callable[[Any], object], make: Callable[[int], Any], size: int, *, noise: float = NOISE
) -> None:
    """`work` on what `make` gives for a quarter of `size`, and for `size`; again where a busy machine was slow."""
    for _ in range(TRIES):
        small, large = (_seconds(work, make(count)) for count in (size // FACTOR, size))
        if large < SLACK * small + noise:
            return
    raise AssertionError(f"{size // FACTOR}: {small:.2f} s, {size}: {large:.2f} s")


def _seconds(work: Callable[[Any], object], given: Any) -> float:
    gc.disable()  # a collection takes the time of all that the process holds
    try:
        begun = time.process_time()
        work(given)
        return time.process_time() - begun
    finally:
        gc.enable()
