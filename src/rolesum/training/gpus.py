"""GPUs that a run may be planned for where they are not at hand: memory and peak rate, by their makers' data sheets."""

from dataclasses import dataclass

import torch

from rolesum.errors import UsageError, did_you_mean

GIB = 2**30
# What the driver, CUDA's context and its libraries keep of a GPU's memory.
_TAKEN = 0.7 * GIB


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """Memory in GiB; the peak of dense products in bfloat16 and in plain float32, in 10^12 operations per second."""

    gib: float
    bfloat16: float
    float32: float

    @property
    def free_bytes(self) -> int:
        return int(self.gib * GIB - _TAKEN)

    def peak_flops(self, dtype: torch.dtype) -> float:
        """Floating-point operations per second."""
        return 1e12 * (self.float32 if dtype == torch.float32 else self.bfloat16)


GPUS = {
    "rtx-3090": GpuSpec(24, 71, 35.6),
    "rtx-4090": GpuSpec(24, 165.2, 82.6),
    "a10": GpuSpec(24, 125, 31.2),
    "l4": GpuSpec(24, 121, 30.3),
    "l40s": GpuSpec(48, 362, 91.6),
    "a100-40": GpuSpec(40, 312, 19.5),
    "a100-80": GpuSpec(80, 312, 19.5),
    "h100": GpuSpec(80, 989, 67),
    "h200": GpuSpec(141, 989, 67),
}


def find_gpu(name: str) -> GpuSpec:
    """One of the table. Raises UsageError."""
    if name.lower() not in GPUS:
        raise UsageError(f'no GPU "{name}" is known', fix=did_you_mean(name, GPUS))
    return GPUS[name.lower()]
