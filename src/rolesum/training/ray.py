"""Training in the workers of a Ray cluster: each of them runs what a process of torchrun runs."""

import logging
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rolesum.console import console, log
from rolesum.errors import ResourceError, RolesumError, UsageError, first_line
from rolesum.recipe import Recipe
from rolesum.training.finetune import DEFAULT_RUNS, Rouge, train
from rolesum.training.run_directory import Interrupted, Run

CARRIED = ("ACCELERATE_", "FSDP_")  # settings of the environment that hold for the workers too


def train_on_ray(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    workers: int,
    resume: bool = False,
    device: str = "auto",
    max_minutes: float | None = None,
    rouge: Rouge | None = None,
    resources: Mapping[str, float] | None = None,
) -> Run:
    """Train by the recipe in `workers` processes of a Ray cluster and return the Run directory, as `train` does.

    The cluster is RAY_ADDRESS's, or the one that this machine belongs to, or one that is started here for this run. A
    worker takes one GPU, or one core where `device` is cpu or there are no GPUs; `resources` says otherwise, in Ray's
    names. The working directory, the run, the data and a base given by its path must be the same files for every
    worker: on one machine, or on shared storage. Ctrl-C ends the workers at once, and `resume` takes up the last
    checkpoint. Raises what `train` raises in a worker, and ResourceError where Ray or a worker fails.
    """
    ray = _import_ray()
    run = Run(Path(out) if out else DEFAULT_RUNS / recipe.name)
    here = str(Path.cwd())
    settings = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}

    with _cluster(ray), tempfile.TemporaryDirectory(prefix="rolesum-ray-") as notes:
        there = ray.cluster_resources()
        on_gpus = device.startswith("cuda") or (device == "auto" and there.get("GPU", 0) > 0)
        wanted = dict(resources or {"GPU" if on_gpus else "CPU": 1})
        for name, share in wanted.items():
            if workers * share > there.get(name, 0):
                log(f"waiting for {workers * share:g} {name}: the cluster has {there.get(name, 0):g}")
        place = "cuda" if on_gpus else "cpu"

        def work() -> None:
            _work(here, settings, recipe, run, resume=resume, device=place, max_minutes=max_minutes, rouge=rouge)

        try:
            _fit(ray, work, workers, wanted, on_gpus, notes)
        except (SystemExit, KeyboardInterrupt, ray.exceptions.RayActorError):  # Ray's ways to take Ctrl-C
            fix = "go on from the last one with the same command and --resume"
            raise Interrupted("stopped between two checkpoints", str(run.path), fix) from None
    if not run.result(recipe.method).is_dir():
        fix = "let --out lie on storage that this machine and all workers share"
        raise UsageError("the workers' run is not to be seen from here", str(run.path), fix)
    return run


def _work(folder: str, settings: Mapping[str, str], recipe: Recipe, run: Run, **options: Any) -> None:
    """What a worker does: the recipe's paths are relative to the launcher's directory, not to one of Ray's."""
    os.environ.update(settings)
    warnings.simplefilter("ignore")  # as on the command line
    for shown in logging.getLogger().handlers:  # Ray's, for every library's chatter
        shown.setLevel(logging.WARNING)
    console.quiet = os.environ.get("RANK", "0") != "0"
    try:
        os.chdir(folder)
    except OSError:
        fix = "start it in a directory on storage that all workers share"
        raise UsageError("the working directory is not there on a worker's machine", folder, fix) from None
    train(recipe, run.path, **options)


def _import_ray() -> Any:
    try:
        import ray
        import ray.train.torch
    except ImportError:
        raise UsageError("--ray-workers needs Ray", fix="pip install 'rolesum[ray]'") from None
    return ray


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """A connection to the cluster, which is there already or ends with the run."""
    mine = not ray.is_initialized()
    try:
        if mine:
            os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # it warns, and the run resumes anyway
            quiet = ray.LoggingConfig(log_level="ERROR")
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
            ray.init(include_dashboard=False, logging_level="ERROR", logging_config=quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        what = f"no Ray cluster: {first_line(error)}"
        raise ResourceError(what, os.environ.get("RAY_ADDRESS", ""), "ray status says what is there") from None
    try:
        yield
    finally:
        if mine:
            ray.shutdown()


def _fit(ray: Any, work: Any, workers: int, wanted: dict[str, float], on_gpus: bool, notes: str) -> None:
    """Run `work` in every worker. Raises the RolesumError that one of them raised."""
    trainer = ray.train.torch.TorchTrainer(
        work,
        torch_config=ray.train.torch.TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=on_gpus, resources_per_worker=wanted),
        run_config=ray.train.RunConfig(
            storage_path=notes, logging_config=ray.train.LoggingConfig(log_level="CRITICAL")
        ),
    )
    main = threading.current_thread() is threading.main_thread()
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit()
    except ray.train.WorkerGroupError as error:
        failures = [failure for _, failure in sorted(error.worker_failures.items())]
        raise next((one for one in failures if isinstance(one, RolesumError)), _other(failures[0])) from None
    except ray.train.TrainingFailedError as error:
        raise _other(error) from None
    finally:
        if main:
            signal.signal(signal.SIGINT, on_interrupt)  # Ray leaves its own there


def _other(failure: Exception) -> ResourceError:
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return ResourceError(f"a Ray worker failed: {lines[-1]}", fix="go on with the same command and --resume")
