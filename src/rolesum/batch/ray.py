"""A bulk run's blocks on a Ray cluster, by Ray Data: each of its actors holds an engine (extra: ray).

What travels are the blocks' numbers. An actor reads its block's dialogues itself, whole, so that all prompts of a
dialogue are its own, and writes its shard; so an actor that dies costs one block, which another does again.
"""

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rolesum.batch.index import ShardReader
from rolesum.batch.run import RunContext, ShardRunner
from rolesum.errors import ResourceError, RolesumError, UsageError
from rolesum.generation.summarizer import Summarizer
from rolesum.ray_cluster import LOCAL, import_ray, ray_cluster, set_up_worker

# A Ray block is done again as a whole where its actor dies; more of them than this only weigh on the driver.
MAX_RAY_BLOCKS = 10_000


def ray_runner(address: str = LOCAL, workers: int | None = None, gpus: float | None = None) -> ShardRunner:
    """Blocks done by `workers` actors of the cluster at `address`, or of one that is started here for the run.

    An actor takes `gpus` GPUs, or one core where that is 0; without it, one GPU where the cluster has any. Without
    `workers`, as many actors as that allows. The working directory, inputs, OUT and models must be the same files for
    all of them: on one machine, or on shared storage.
    """

    def run(work: RunContext, todo: Sequence[int], on_done: Callable[[int], None]) -> Iterator[tuple[int, int]]:
        ray = import_ray("--ray", "pandas", "pyarrow", "ray.data")  # Ray Data reports a missing pandas or pyarrow late
        local = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL else {}
        with ray_cluster(ray, address, log_to_driver=False, **local):
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            there = ray.cluster_resources()
            share = (1.0 if there.get("GPU", 0) >= 1 else 0.0) if gpus is None else gpus
            size = workers or max(1, int(there.get("GPU", 0) / share if share else there.get("CPU", 1)))
            try:
                for row in _dataset(ray, work, todo, min(size, len(todo)), share).iter_rows():
                    if row["error"]:
                        raise pickle.loads(row["error"])
                    yield int(row["summarized"]), int(row["failed"])
            except ray.exceptions.RayError as error:
                told = str(error).strip().splitlines() or [type(error).__name__]
                raise ResourceError(f"Ray failed: {told[0]}", address, "look at the logs that Ray keeps") from None
        missing = set(todo) - work.out.completed_shards()
        if missing:
            fix = "let OUT lie on storage that this machine and all workers share"
            raise UsageError("OUT is not on storage shared with the workers", str(work.out.path), fix)

    return run


def _dataset(ray: Any, work: RunContext, todo: Sequence[int], size: int, gpus: float) -> Any:
    """The rows that tell of blocks which are done, in the order in which they are."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    numbers = ray.data.from_items(
        [{"block": number} for number in todo], override_num_blocks=min(len(todo), MAX_RAY_BLOCKS)
    )
    # One task at a time: a block may take minutes, and none should wait behind another while an actor idles.
    actors = ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1)
    takes = {"num_gpus": gpus} if gpus else {"num_cpus": 1}
    return numbers.map_batches(
        _Actor, fn_constructor_args=(work, str(Path.cwd())), batch_size=1, compute=actors, **takes
    )


class _Actor:
    """One engine, and the blocks that it is given by their numbers. Errors travel as rows: Ray would wrap them."""

    def __init__(self, work: RunContext, folder: str) -> None:
        self.work, self.folder = work, folder
        self.opened: tuple[ShardReader, Summarizer] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        row: dict[str, Any] = {"summarized": 0, "failed": 0, "error": b""}
        (number,) = batch["block"]
        try:
            row["summarized"], row["failed"] = self._do(int(number))
        except RolesumError as error:
            row["error"] = pickle.dumps(error)
        except Exception as error:
            what = f"a Ray worker failed: {type(error).__name__}: {error}"
            row["error"] = pickle.dumps(ResourceError(what, fix="look at the logs that Ray keeps"))
        return {name: [value] for name, value in row.items()}

    def _do(self, number: int) -> tuple[int, int]:
        self.opened = self.opened or self._open()
        if self.work.out.shard_path(number).exists():  # written by an actor that died before it could tell
            return self.work.out.shard_counts(number)
        return self.work.process_shard(number, *self.opened)

    def _open(self) -> tuple[ShardReader, Summarizer]:
        set_up_worker(self.folder)
        return self.work.open_worker()
