"""A speed test of the device: products as reading a dialogue needs them, and as writing a summary does."""

import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from rolesum.models.dtype_choice import ROWS, Shape

# The matrices that are gone through: more bytes than a cache holds, as a model's layers are.
_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured: operations a second on many tokens at a time, bytes of weights a second on one."""

    dtype: str
    shape: Shape
    flops: float  # a product's multiplications and additions, for a prompt that is read
    bytes_per_second: float  # of weights, for a text that is written


def measure_speed(device: torch.device, dtype: torch.dtype, shape: Shape, seconds: float = 2.0) -> Speed:
    """Measure products with matrices of this shape for about so many seconds."""
    inner, outer = shape
    size = inner * outer * dtype.itemsize
    matrices = [torch.randn(outer, inner, device=device, dtype=dtype) for _ in range(max(1, _BYTES // size))]
    many, one = (torch.randn(rows, inner, device=device, dtype=dtype) for rows in (ROWS, 1))
    name = str(dtype).removeprefix("torch.")
    per_product = 2 * ROWS * inner * outer
    return Speed(
        name,
        shape,
        per_product * _products_per_second(many, matrices, seconds / 2),
        size * _products_per_second(one, matrices, seconds / 2),
    )


def _products_per_second(left: torch.Tensor, matrices: list[torch.Tensor], seconds: float) -> float:
    functional.linear(left, matrices[0])  # the first is slower: memory and kernels are prepared
    _wait(left.device)
    begin, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < seconds or not done:
        functional.linear(left, matrices[done % len(matrices)])
        done += 1
        if left.device.type != "cpu" and done % 32 == 0:
            _wait(left.device)
    _wait(left.device)
    return done / max(time.perf_counter() - begin, passed, 1e-9)


def _wait(device: torch.device) -> None:
    """Wait for an accelerator, which computes while the program goes on."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
