"""The processes of one training run: joining them by torchrun's environment, and running code on one or all of them.

A run in one process uses the same code, with a world size of one and nothing to wait for.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, parse_flag_from_env
from torch import distributed

from rolesum.errors import RolesumError, UsageError

T = TypeVar("T")

# How long processes wait for the main one, which alone writes an evaluation's summaries. torchrun ends them if it dies.
BARRIER_TIMEOUT = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """The process with number `rank` of `world_size` processes; `gpu` is the one assigned to it."""

    world_size: int = 1
    rank: int = 0
    gpu: torch.device | None = None
    sharded: bool = False  # FSDP, by accelerate's configuration: no process holds the whole model

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files and the log."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes have reached this call."""
        if self.world_size > 1:
            distributed.barrier()

    def run_on_main(self, work: Callable[[], T]) -> T:
        """Run `work` in the main process and return its result, or raise its error, in all of them."""
        if self.world_size == 1:
            return work()
        outcome: list[T | Exception | None] = [None]
        if self.is_main:
            try:
                outcome = [work()]
            except Exception as error:
                outcome = [error]
        distributed.broadcast_object_list(outcome, src=0)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return cast(T, outcome[0])

    def run_on_all(self, work: Callable[[], T]) -> T:
        """Run `work` in every process; where it fails in one, all raise that error instead of waiting forever."""
        if self.world_size == 1:
            return work()
        result: T | None = None
        failure: RolesumError | None = None
        try:
            result = work()
        except RolesumError as error:
            failure = error
        failures: list[RolesumError | None] = [None] * self.world_size
        distributed.all_gather_object(failures, failure)
        for failure in failures:
            if failure is not None:
                raise failure
        return cast(T, result)


def init_distributed(device: str) -> DistributedContext:
    """Join the other processes of torchrun (or Ray), over gloo on a CPU and NCCL on GPUs; alone without them."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    sharded = parse_flag_from_env("ACCELERATE_USE_FSDP")
    if sharded:
        _configure_fsdp(world_size)
    if world_size == 1:
        return DistributedContext()
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    state = PartialState(cpu=on_cpu, timeout=BARRIER_TIMEOUT)
    if sharded and state.distributed_type is DistributedType.MULTI_CPU:  # accelerate would train unsharded, silently
        raise UsageError("accelerate shards a model on GPUs only", fix="leave FSDP out, or give --device cuda")
    gpu = state.device if state.device.type == "cuda" else None
    return DistributedContext(state.num_processes, state.process_index, gpu, sharded)


def _configure_fsdp(world_size: int) -> None:
    """Set what the environment leaves open of FSDP. Raises UsageError for settings that are not supported."""
    if world_size == 1:
        fix = "use torchrun --nproc-per-node N, or leave FSDP out of accelerate's configuration"
        raise UsageError("FSDP needs several processes", fix=fix)
    os.environ["ACCELERATE_USE_FSDP"] = "true"  # accelerate reads no other spelling of it
    os.environ.setdefault("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    if os.environ.setdefault("FSDP_VERSION", "2") != "2":
        fix = "set FSDP_VERSION=2, or fsdp_version: 2 in accelerate's configuration"
        raise UsageError("rolesum shards with FSDP 2 only", fix=fix)
    if parse_flag_from_env("FSDP_ACTIVATION_CHECKPOINTING"):
        fix = "leave it out, and set training.gradient_checkpointing in the recipe"
        raise UsageError("FSDP's activation checkpointing renames the weights", fix=fix)
