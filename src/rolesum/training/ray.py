"""Training in the workers of a Ray cluster: each of them runs what a process of torchrun runs."""

import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from rolesum.console import console, log
from rolesum.errors import ResourceError, RolesumError, UsageError
from rolesum.interrupts import signal_number
from rolesum.ray_cluster import import_ray, ray_cluster, set_up_worker
from rolesum.recipe import Recipe
from rolesum.training.finetune import DEFAULT_RUNS, train
from rolesum.training.run_directory import Run, stopped_run

FORWARDED_SETTINGS = ("ACCELERATE_", "FSDP_")  # prefixes of environment variables that the workers get too


def train_on_ray(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    workers: int,
    resume: bool = False,
    device: str = "auto",
    max_minutes: float | None = None,
    resources: Mapping[str, float] | None = None,
) -> Run:
    """Train by the recipe in `workers` processes of a Ray cluster and return the Run directory, as `train` does.

    The cluster is RAY_ADDRESS's, or the one that this machine belongs to, or one that is started here for this run. A
    worker takes one GPU, or one core where `device` is cpu or there are no GPUs; `resources` says otherwise, in Ray's
    names. The working directory, the run, the data and a base given by its path must be the same files for every
    worker: on one machine, or on shared storage. Ctrl-C ends the workers at once, and `resume` takes up the last
    checkpoint. Raises what `train` raises in a worker, and ResourceError where Ray or a worker fails.
    """
    ray = import_ray("--ray-workers", "ray.train.torch")
    run = Run(Path(out) if out else DEFAULT_RUNS / recipe.name)
    directory = str(Path.cwd())
    settings = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED_SETTINGS)}
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # it warns, and the run resumes anyway

    with (
        ray_cluster(ray, include_dashboard=False, logging_config=ray.LoggingConfig(log_level="ERROR")),
        tempfile.TemporaryDirectory(prefix="rolesum-ray-") as storage,
    ):
        available = ray.cluster_resources()
        on_gpus = device.startswith("cuda") or (device == "auto" and available.get("GPU", 0) > 0)
        per_worker = dict(resources or {"GPU" if on_gpus else "CPU": 1})
        for name, share in per_worker.items():
            if workers * share > available.get(name, 0):
                log(f"waiting for {workers * share:g} {name}: the cluster has {available.get(name, 0):g}")
        options = {"resume": resume, "device": "cuda" if on_gpus else "cpu", "max_minutes": max_minutes}

        def work() -> None:
            _work(directory, settings, recipe, run, **options)

        try:
            _fit(ray, work, workers, per_worker, on_gpus, storage)
        except (SystemExit, KeyboardInterrupt, ray.exceptions.RayActorError) as error:  # Ray's forms of Ctrl-C
            raise stopped_run(run, signal_number(error)) from None
    if not run.result(recipe.method).is_dir():
        fix = "put --out on storage that this machine and all workers share"
        raise UsageError("the run directory is not on storage shared with the workers", str(run.path), fix)
    return run


def _work(directory: str, settings: Mapping[str, str], recipe: Recipe, run: Run, **options: Any) -> None:
    """Train in a worker, with the launcher's settings and working directory."""
    os.environ.update(settings)
    warnings.simplefilter("ignore")  # as on the command line
    console.quiet = os.environ.get("RANK", "0") != "0"
    set_up_worker(directory)
    train(recipe, run.path, **options)


def _fit(
    ray: ModuleType, work: Callable[[], None], workers: int, per_worker: dict[str, float], on_gpus: bool, storage: str
) -> None:
    """Run `work` in every worker. Raises the RolesumError that one of them raised."""
    trainer = ray.train.torch.TorchTrainer(
        work,
        torch_config=ray.train.torch.TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=on_gpus, resources_per_worker=per_worker),
        run_config=ray.train.RunConfig(
            storage_path=storage, logging_config=ray.train.LoggingConfig(log_level="CRITICAL")
        ),
    )
    in_main_thread = threading.current_thread() is threading.main_thread()
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit()
    except ray.train.WorkerGroupError as error:
        failures = [failure for _, failure in sorted(error.worker_failures.items())]
        raise next((one for one in failures if isinstance(one, RolesumError)), _worker_error(failures[0])) from None
    except ray.train.TrainingFailedError as error:
        raise _worker_error(error) from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, on_interrupt)  # Ray leaves its own handler there


def _worker_error(failure: Exception) -> ResourceError:
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return ResourceError(f"a Ray worker failed: {lines[-1]}", fix="continue with the same command and --resume")
