"""Run the shards of a batch run on a Ray cluster with Ray Data; each actor holds an engine (extra: ray).

Only shard numbers are sent to the actors. An actor reads its shard's dialogues itself, so that all prompts of a
dialogue stay together, and writes the shard. An actor that dies costs one shard, which another actor repeats.
"""

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rolesum.batch.index import ShardReader
from rolesum.batch.run import RunContext, ShardRunner
from rolesum.errors import ResourceError, RolesumError, UsageError, error_summary
from rolesum.generation.summarizer import Summarizer
from rolesum.ray_cluster import LOCAL, import_ray, ray_cluster, set_up_worker

# Ray repeats a whole block of its own when an actor dies; more blocks than this only burden the driver.
MAX_RAY_BLOCKS = 10_000


def ray_runner(address: str = LOCAL, workers: int | None = None, gpus: float | None = None) -> ShardRunner:
    """A ShardRunner with `workers` actors on the cluster at `address`, or on one that is started here for the run.

    An actor takes `gpus` GPUs, or one core if that is 0; by default one GPU if the cluster has any. Without `workers`,
    there are as many actors as the resources allow. The working directory, inputs, OUT and models must be the same
    files for all actors: on one machine, or on shared storage.
    """

    def run(context: RunContext, numbers: Sequence[int], on_done: Callable[[int], None]) -> Iterator[tuple[int, int]]:
        ray = import_ray("--ray", "pandas", "pyarrow", "ray.data")  # Ray Data reports a missing pandas or pyarrow late
        local = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL else {}
        with ray_cluster(ray, address, log_to_driver=False, **local):
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            available = ray.cluster_resources()
            actor_gpus = (1.0 if available.get("GPU", 0) >= 1 else 0.0) if gpus is None else gpus
            room = available.get("GPU", 0) / actor_gpus if actor_gpus else available.get("CPU", 1)
            actors = min(workers or max(1, int(room)), len(numbers))
            try:
                for row in _dataset(ray, context, numbers, actors, actor_gpus).iter_rows():
                    if row["error"]:
                        raise pickle.loads(row["error"])
                    yield int(row["summarized"]), int(row["failed"])
            except ray.exceptions.RayError as error:
                raise ResourceError(f"Ray failed: {error_summary(error)}", address, "look at Ray's logs") from None
        missing = set(numbers) - context.out.completed_shards()
        if missing:
            fix = "let OUT lie on storage that this machine and all workers share"
            raise UsageError("OUT is not on storage shared with the workers", str(context.out.path), fix)

    return run


def _dataset(ray: Any, context: RunContext, numbers: Sequence[int], actors: int, actor_gpus: float) -> Any:
    """A Ray dataset with one row per completed shard, in order of completion: counts, and a pickled error or b""."""
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    items = [{"shard": number} for number in numbers]
    dataset = ray.data.from_items(items, override_num_blocks=min(len(numbers), MAX_RAY_BLOCKS))
    # One task in flight per actor: a shard may take minutes, and must not wait behind another while an actor is idle.
    pool = ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1)
    resources = {"num_gpus": actor_gpus} if actor_gpus else {"num_cpus": 1}
    arguments = (context, str(Path.cwd()))
    return dataset.map_batches(_Actor, fn_constructor_args=arguments, batch_size=1, compute=pool, **resources)


class _Actor:
    """An actor with one engine, called with one shard number at a time. Errors are returned as rows: Ray wraps them."""

    def __init__(self, context: RunContext, directory: str) -> None:
        self.context, self.directory = context, directory
        self.worker: tuple[ShardReader, Summarizer] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        row: dict[str, Any] = {"summarized": 0, "failed": 0, "error": b""}
        (number,) = batch["shard"]
        try:
            row["summarized"], row["failed"] = self._process(int(number))
        except RolesumError as error:
            row["error"] = pickle.dumps(error)
        except Exception as error:
            what = f"a Ray worker failed: {type(error).__name__}: {error}"
            row["error"] = pickle.dumps(ResourceError(what, fix="look at Ray's logs"))
        return {name: [value] for name, value in row.items()}

    def _process(self, number: int) -> tuple[int, int]:
        if self.worker is None:
            set_up_worker(self.directory)
            self.worker = self.context.open_worker()
        if self.context.out.shard_path(number).exists():  # written by an actor that died before it could report it
            return self.context.out.shard_counts(number)
        return self.context.process_shard(number, *self.worker)
