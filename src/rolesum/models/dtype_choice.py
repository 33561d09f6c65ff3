"""The dtype in which a device computes a model faster, on a CPU measured by a matrix product of the model's shape.

A processor's flags do not tell: bfloat16 is twice as fast as float32 on one with AMX, and half as fast on one that has
AVX512-BF16 alone.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import PretrainedConfig

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.models.config_sizes import mlp_width
from rolesum.models.revisions import cache_dir

RATES_FILE = "matrix-products.json"
# Rows of the product: enough for the full rate, few enough for tens of milliseconds.
ROWS, ROUNDS = 256, 4
# float32 takes twice the memory, so it has to be this much faster.
MARGIN = 1.05
# Without one of these a CPU emulates bfloat16, several times slower than float32.
FLAGS = ("avx512_bf16", "amx_bf16", "amx_tile", "bf16")

Shape = tuple[int, int]


@dataclass(frozen=True)
class DtypeChoice:
    """A dtype, and why it was chosen, as a clause."""

    dtype: torch.dtype
    reason: str

    @property
    def name(self) -> str:
        """The dtype's name without "torch."."""
        return str(self.dtype).removeprefix("torch.")


def choose_dtype(device: torch.device, shape: Shape) -> DtypeChoice:
    """bfloat16 or float32 for a model on a device. `shape` is that of its most frequent large matrix: see model_shape.

    What was measured on a CPU is kept in the cache directory, by processor, torch version, threads and shape.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return DtypeChoice(torch.bfloat16, "this GPU computes bfloat16")
        return DtypeChoice(torch.float32, "this GPU only emulates bfloat16")
    if device.type != "cpu":
        return DtypeChoice(torch.float32, f"bfloat16 is not used on {device.type}")
    if not any(torch.cpu.get_capabilities().get(flag) for flag in FLAGS):
        return DtypeChoice(torch.float32, "this processor only emulates bfloat16")
    return faster_dtype(_known_rates(shape))


def faster_dtype(rates: Mapping[str, float]) -> DtypeChoice:
    """The choice by floating-point operations a second of "bfloat16" and "float32" on this processor."""
    ratio = rates["bfloat16"] / rates["float32"]
    if ratio * MARGIN >= 1:
        return DtypeChoice(torch.bfloat16, f"matrix products take {1 / ratio:.2f} times as long as in float32 here")
    return DtypeChoice(torch.float32, f"matrix products take {ratio:.2f} times as long as in bfloat16 here")


def model_shape(config: PretrainedConfig) -> Shape:
    """The shape of a matrix of the MLP, which has most of a model's weights: hidden size and MLP width."""
    text = config.get_text_config()
    return text.hidden_size, mlp_width(text)


def measure_rates(shape: Shape) -> dict[str, float]:
    """Floating-point operations a second of a product with a matrix of this shape, by dtype, in turns on this CPU."""
    inner, outer = shape
    sides = {
        dtype: (torch.randn(ROWS, inner).to(dtype), torch.randn(outer, inner).to(dtype))
        for dtype in (torch.bfloat16, torch.float32)
    }
    best: dict[torch.dtype, float] = {}
    for _ in range(ROUNDS + 1):  # the first is slower: memory and kernels are prepared
        for dtype, (left, right) in sides.items():
            start = time.perf_counter()
            functional.linear(left, right)
            seconds = time.perf_counter() - start
            best[dtype] = min(best.get(dtype, seconds), seconds)
    return {str(dtype).removeprefix("torch."): 2 * ROWS * inner * outer / best[dtype] for dtype in sides}


def _known_rates(shape: Shape) -> dict[str, float]:
    """The rates that are kept for this processor and shape, or else measured and kept."""
    file = cache_dir() / RATES_FILE
    able = torch.cpu.get_capabilities()
    flags = " ".join(flag for flag in FLAGS if able.get(flag))
    key = f"{able.get('cpu_name')} ({flags}), torch {torch.__version__}, {torch.get_num_threads()} threads, {shape}"
    kept: dict[str, dict[str, float]] = {}
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        kept = {name: rates for name, rates in found.items() if _are_rates(rates)} if isinstance(found, dict) else {}
    if key in kept:
        return kept[key]
    kept[key] = measure_rates(shape)
    with suppress(OSError):  # a cache that cannot be written costs the next start a measurement
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(file, strict_json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return kept[key]


def _are_rates(found: object) -> bool:
    names = ("bfloat16", "float32")
    return isinstance(found, dict) and all(isinstance(found.get(name), float) and found[name] > 0 for name in names)
