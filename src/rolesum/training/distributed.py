"""The processes of one training run: torchrun's environment, who writes, and how errors reach everybody.

A run in one process is a run of one: the same code, with nothing to wait for.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, parse_flag_from_env
from torch import distributed

from rolesum.errors import RolesumError, UsageError

T = TypeVar("T")

# How long processes wait for the first: it alone writes the summaries of an evaluation. torchrun ends them if it dies.
BARRIER_TIMEOUT = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """`count` processes, of which this is number `rank`; `gpu` is the one that was given to it."""

    world_size: int = 1
    rank: int = 0
    gpu: torch.device | None = None
    sharded: bool = False  # FSDP, by accelerate's configuration: no process holds the whole model

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Until all processes are here."""
        if self.world_size > 1:
            distributed.barrier()

    def run_on_main(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, in all of them; its errors are raised in all of them too."""
        if self.world_size == 1:
            return work()
        outcome: list[T | BaseException | None] = [None]
        if self.is_main:
            try:
                outcome = [work()]
            except Exception as error:
                outcome = [error]
        distributed.broadcast_object_list(outcome, src=0)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]  # type: ignore[return-value]

    def run_on_all(self, work: Callable[[], T]) -> T:
        """`work` in every process; where it fails in one, all raise that error rather than wait for each other."""
        if self.world_size == 1:
            return work()
        done, failed = None, None
        try:
            done = work()
        except RolesumError as error:
            failed = error
        outcomes: list[RolesumError | None] = [None] * self.world_size
        distributed.all_gather_object(outcomes, failed)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return done  # type: ignore[return-value]


def init_distributed(device: str) -> DistributedContext:
    """Join the other processes of torchrun (or Ray), over gloo on a CPU and NCCL on GPUs; alone without them."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    sharded = parse_flag_from_env("ACCELERATE_USE_FSDP")
    if sharded:
        _settle_sharding(count)
    if count == 1:
        return DistributedContext()
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    state = PartialState(cpu=on_cpu, timeout=BARRIER_TIMEOUT)
    if sharded and state.distributed_type is DistributedType.MULTI_CPU:  # accelerate would go on without a word
        raise UsageError("accelerate shards a model on GPUs only", fix="leave FSDP out, or give --device cuda")
    gpu = state.device if state.device.type == "cuda" else None
    return DistributedContext(state.num_processes, state.process_index, gpu, sharded)


def _settle_sharding(count: int) -> None:
    """Say what the environment leaves open of FSDP. Raises UsageError for what cannot be done."""
    if count == 1:
        fix = "use torchrun --nproc-per-node N, or leave FSDP out of accelerate's configuration"
        raise UsageError("FSDP needs several processes", fix=fix)
    os.environ["ACCELERATE_USE_FSDP"] = "true"  # accelerate takes no other word for it
    os.environ.setdefault("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    if os.environ.setdefault("FSDP_VERSION", "2") != "2":
        fix = "set FSDP_VERSION=2, or fsdp_version: 2 in accelerate's configuration"
        raise UsageError("rolesum shards with FSDP 2 only", fix=fix)
    if parse_flag_from_env("FSDP_ACTIVATION_CHECKPOINTING"):
        fix = "leave it out, and set training.gradient_checkpointing in the recipe"
        raise UsageError("FSDP's activation checkpointing renames the weights", fix=fix)
