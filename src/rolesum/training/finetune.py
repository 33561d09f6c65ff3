"""One run, from a recipe to a directory with the adapter: the story of training from its beginning to its end."""

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from rolesum.console import log, progress_bar
from rolesum.dialogue import Dialogue
from rolesum.errors import ResourceError, UsageError
from rolesum.models.adapters import save_adapter, save_model
from rolesum.models.loading import LoadedModel, PromptModel, load_prompt_model, load_weights, pick_device, pick_dtype
from rolesum.models.transformers_logging import quiet_transformers
from rolesum.recipe import Recipe
from rolesum.training.batching import batches_per_process
from rolesum.training.callbacks import (
    EvaluateEvenly,
    KeepBest,
    LogBeforeSaving,
    MetricsFile,
    ProgressLine,
    SaveByClock,
    StopAfter,
    StopOnInterrupt,
    StopOnNaN,
    SyncControlFlags,
    nan_error,
)
from rolesum.training.checkpoints import list_checkpoints
from rolesum.training.collate import make_collate_fn
from rolesum.training.data import TrainingData, data_notes, read_training_data, read_validation_data
from rolesum.training.distributed import DistributedContext, init_distributed
from rolesum.training.forward import packs_rows, training_forward
from rolesum.training.model_card import model_card
from rolesum.training.prepare_model import prepare_model
from rolesum.training.run_directory import (
    Interrupted,
    Run,
    adapter_metadata,
    check_run_directory,
    finish_run,
    lock_run,
    peak_memory,
    start_run,
)
from rolesum.training.trainer import BundleDataset, RoleTrainer
from rolesum.training.training_arguments import check_loggers, tensorboard_dir, training_arguments

DEFAULT_RUNS = Path("runs")

# ROUGE of a model's summaries of dialogues, by measure. Scorers live above training: the caller brings one.
Rouge = Callable[[LoadedModel, Sequence[Dialogue]], dict[str, float]]


def train(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    max_minutes: float | None = None,
    rouge: Rouge | None = None,
) -> Run:
    """Train by the recipe and return the Run directory (default runs/NAME).

    With `resume`, go on from the last checkpoint. After `max_minutes`, counted from now, a checkpoint is written and
    Interrupted raised, as after Ctrl-C. `rouge` is needed where the recipe has validation.summaries (see
    evaluation.validation). Under torchrun each process calls this. Raises DataError, ModelError and ResourceError as
    they come.
    """
    deadline = time.monotonic() + max_minutes * 60 if max_minutes is not None else None
    processes = init_distributed(device)
    run = Run(Path(out) if out else DEFAULT_RUNS / recipe.name)
    processes.run_on_main(lambda: check_run_directory(run, recipe, resume))
    _check_wishes(recipe, processes, device, rouge)
    side, data, validation = processes.run_on_all(lambda: _read(recipe))
    target, loaded = processes.run_on_all(lambda: _load(recipe, side, processes, device))
    log(f"training {recipe.base} on {data.describe(packs_rows(loaded.language_model, side.family, target))}")
    for note in data_notes(data, validation):
        log(note)
    note = adapter_metadata(recipe, loaded)
    with _memory_errors():
        loaded.model = prepare_model(loaded.model, side.family, recipe)
    job = _Job(run, recipe, processes, target, loaded, data, validation, rouge, note)
    with ExitStack() as held:
        processes.run_on_main(lambda: held.enter_context(lock_run(run)))
        processes.run_on_main(lambda: check_run_directory(run, recipe, resume))  # again: now nobody else writes there
        _run(job, resume, deadline)
    return run


def _run(job: "_Job", resume: bool, deadline: float | None) -> None:
    """Train into the run's directory, from its beginning or its last checkpoint."""
    run, processes = job.run, job.processes
    check = getattr(job.rouge, "check", None)  # of evaluation.validation
    if check and job.recipe.validation.summaries:
        processes.run_on_main(lambda: check(job.loaded, job.looked_at))
    processes.run_on_main(
        lambda: start_run(run, job.recipe, job.loaded, pick_dtype(job.recipe.dtype, job.device), resume)
    )
    checkpoint = processes.run_on_main(lambda: _last_checkpoint(run, processes)) if resume else None
    with _memory_errors():
        costs = _fit(job, checkpoint, deadline)
    processes.run_on_main(lambda: finish_run(run, costs))


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Memory that does not suffice, as each device tells it, is a ResourceError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # OutOfMemoryError is a RuntimeError; a processor has no name for it
        if isinstance(error, RuntimeError) and not _told_of_memory(error):
            raise
        fix = "lower training.tokens_per_batch and raise training.gradient_accumulation, or gradient_checkpointing"
        raise ResourceError("the model or its batches do not fit the device's memory", fix=fix) from None


def _told_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _check_wishes(recipe: Recipe, processes: DistributedContext, device: str, rouge: Rouge | None) -> None:
    """Refuse what cannot be done before anything costly happens."""
    check_loggers(recipe.training.report_to)
    if device.startswith("cuda:") and device != "cuda:0":
        fix = f"CUDA_VISIBLE_DEVICES={device.removeprefix('cuda:')} rolesum train … --device cuda"
        raise UsageError("training runs on the first GPU that it sees", fix=fix)
    if recipe.validation.summaries and rouge is None:
        fix = "pass train(…, rouge=rolesum.training.validation.rouge(recipe)), or leave validation.summaries out"
        raise UsageError("validation.summaries needs a way to score", fix=fix)
    if recipe.validation.summaries and processes.sharded:
        raise UsageError("a sharded model cannot write summaries during training", fix="leave validation.summaries out")
    if recipe.quantize and processes.sharded:
        raise UsageError("a base in 4 bits is not sharded", fix="leave quantize or FSDP out")


def _read(recipe: Recipe) -> tuple[PromptModel, TrainingData, TrainingData | None]:
    side = load_prompt_model(recipe.base)
    if recipe.training.share_prefix and not side.family.shares_prefix:
        log(f"{side.family.name} models {side.family.unshared_reason}: each example is computed with its own prefix")
    return side, read_training_data(recipe, side), read_validation_data(recipe, side)


def _load(
    recipe: Recipe, side: PromptModel, processes: DistributedContext, device: str
) -> tuple[torch.device, LoadedModel]:
    """The device that this process trains on, and the base there; a sharded one comes there by shards.

    Weights that are trained all are in float32.
    """
    target = processes.gpu or pick_device(device)
    dtype = torch.float32 if recipe.method == "full" else pick_dtype(recipe.dtype, target)
    first = "cpu" if processes.sharded else str(target)
    name = str(dtype).removeprefix("torch.")
    return target, load_weights(side, dtype=name, device=first, quantize=recipe.quantize)


def _last_checkpoint(run: Run, processes: DistributedContext) -> Path | None:
    """What a resumed run goes on from. Raises UsageError where FSDP was in use and is not now, or the reverse."""
    last = run.last_checkpoint()
    for broken in list_checkpoints(run.checkpoints)[::-1]:
        if broken == last:
            break
        log(f"{broken.name} is not whole: it is passed over")
    if last is None:
        log("no whole checkpoint here: the run begins anew")
    elif any(last.glob("pytorch_model_fsdp*")) != processes.sharded:
        fix = "leave FSDP out" if processes.sharded else "start it as before, with FSDP in accelerate's configuration"
        raise UsageError("this run began " + ("without FSDP" if processes.sharded else "with FSDP"), str(last), fix)
    return last


@dataclass(frozen=True)
class _Job:
    """The parts of a run that is under way. `loaded.model` is what is trained."""

    run: Run
    recipe: Recipe
    processes: DistributedContext
    device: torch.device
    loaded: LoadedModel
    data: TrainingData
    validation: TrainingData | None
    rouge: Rouge | None
    note: dict[str, Any]

    @property
    def looked_at(self) -> list[Dialogue]:
        """The dialogues that are summarized on the way."""
        return self.validation.dialogues[: self.recipe.validation.summaries] if self.validation else []

    @property
    def step_tokens(self) -> list[int]:
        """The tokens of every optimizer step."""
        lengths = self.data.lengths
        return [sum(lengths[draw.index] for batch in step for draw in batch) for step in self.data.steps]


def _fit(job: _Job, checkpoint: Path | None, deadline: float | None) -> dict[str, Any]:
    """Train to the end, write the result, and give what it cost. Raises Interrupted where it was stopped."""
    steps = len(job.data.steps)
    stop = StopOnInterrupt()
    with (
        quiet_transformers(),
        tensorboard_dir(job.run.path),
        training_forward(job.loaded.model, job.loaded.family, job.recipe.neftune.alpha, job.device),
        progress_bar("train", steps, "steps") as bar,
    ):
        progress = ProgressLine(bar, job.step_tokens)
        trainer = _trainer(job)
        best = KeepBest(
            "eval_rougeL" if job.recipe.validation.best_by == "rouge" else "eval_loss",
            job.recipe.validation.patience,
            partial(_write, job) if job.recipe.validation.keep == "best" else None,
            job.run,
        )
        for watcher in _watchers(job, progress, best, stop, deadline):
            trainer.add_callback(watcher)
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            fix = ("free some disk space" if full else "see to that") + ", then go on with --resume"
            raise ResourceError(f"could not read or write the run: {error}", str(job.run.path), fix) from None
        finally:
            stop.restore()
        if trainer.state.global_step < steps and not best.stopped:
            done = f"stopped at step {trainer.state.global_step} of {steps}; a checkpoint was written"
            raise Interrupted(done, str(job.run.path), "go on with the same command and --resume")
        result = job.run.result(job.recipe.method)
        if job.recipe.validation.keep == "best":
            kept = job.run.best / str(trainer.state.best_global_step)
            job.processes.run_on_main(lambda: kept.rename(result))
        else:
            _write(job, result)
        return _costs(job, progress)


def _trainer(job: _Job) -> RoleTrainer:
    options, loaded = job.recipe.training, job.loaded
    full_in_bf16 = job.recipe.method == "full" and pick_dtype(job.recipe.dtype, job.device) is torch.bfloat16
    arguments = training_arguments(
        job.run,
        job.recipe,
        job.processes,
        on_cpu=job.device.type == "cpu",
        bf16=full_in_bf16,
        steps=len(job.data.steps),
        micro_batches=batches_per_process(job.data.steps[0], job.processes.world_size),
    )
    trainer = RoleTrainer(
        model=loaded.model,
        args=arguments,
        train_dataset=BundleDataset(job.data.encoded),
        eval_dataset=BundleDataset(job.validation.encoded) if job.validation else None,
        steps=job.data.steps,
        validation=job.validation.steps if job.validation else (),
        epochs=options.epochs,
        collate=make_collate_fn(loaded),
        processes=job.processes,
        extra_metrics=partial(_rouge, job) if job.recipe.validation.summaries else None,
    )
    trainer.pop_callback(PrinterCallback)
    return trainer


def _watchers(
    job: _Job, progress: ProgressLine, best: KeepBest, stop: StopOnInterrupt, deadline: float | None
) -> list[TrainerCallback]:
    """The callbacks, in the order in which they are asked."""
    options, steps = job.recipe.training, len(job.data.steps)
    watchers: list[TrainerCallback] = [progress, StopOnNaN(), SaveByClock(options.save_minutes), best, stop]
    if job.processes.is_main:
        watchers.append(MetricsFile(job.run.metrics))
    if job.validation:
        watchers.append(EvaluateEvenly(steps, min(steps, job.recipe.validation.per_epoch * options.epochs)))
    if deadline is not None:
        watchers.append(StopAfter(deadline))
    if job.processes.world_size > 1:
        watchers.append(SyncControlFlags())
    return [*watchers, LogBeforeSaving()]


def _rouge(job: _Job) -> dict[str, float]:
    """The ROUGE of summaries of the first validation dialogues by the model as it is now."""
    job.loaded.model.eval()
    return job.rouge(job.loaded, job.looked_at)


def _write(job: _Job, directory: Path) -> None:
    """Write the adapter, or the whole model, as it is now. To be called in every process: a sharded one is gathered."""
    model, card = job.loaded.model, model_card(job.recipe, job.note, len(job.data.dialogues))
    state = _gathered(model) if job.processes.sharded else None

    def write() -> None:
        weights = {name: one for name, one in model.named_parameters() if one.requires_grad} if state is None else state
        if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
            raise nan_error("the trained weights are no longer numbers")
        if job.recipe.method == "full":
            save_model(model, job.loaded.tokenizer, job.loaded.path, directory, job.note, card, state)
        else:
            save_adapter(model, directory, job.note, card, state)

    job.processes.run_on_main(write)


def _gathered(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trained weights of a sharded model, whole, in the first process; the others get none."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict  # slow to import

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    tied = model.all_tied_weights_keys  # the same tensor under a second name
    return {name: weight for name, weight in get_model_state_dict(model, options=options).items() if name not in tied}


def _costs(job: _Job, progress: ProgressLine) -> dict[str, Any]:
    """What the steps of this start took, evaluations and checkpoints left out."""
    steps = slice(progress.first, progress.last)
    examples = sum(
        len(job.data.encoded[draw.index].branches) for step in job.data.steps[steps] for batch in step for draw in batch
    )
    tokens = sum(progress.tokens[steps])
    seconds = progress.seconds
    return {
        "steps": progress.last - progress.first,
        "examples": examples,
        "tokens": tokens,
        "seconds": round(seconds, 2),
        "examples_per_second": round(examples / seconds, 3) if seconds else None,
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "peak_memory_bytes": peak_memory(job.device),
    }
