"""Fine-tunes a model by a recipe: checks the request, reads the data, loads the base, trains, and writes the result."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback

from rolesum.console import log, progress_bar
from rolesum.errors import DataError, ResourceError, UsageError
from rolesum.file_state import unchanged_while_read
from rolesum.generation.decoding.decoder_check import choose_decoder
from rolesum.models.adapter_metadata import read_metadata
from rolesum.models.allocator import is_out_of_memory
from rolesum.models.base_adapter import BaseAdapter, base_adapter_notes, read_base_adapter, with_base_adapter
from rolesum.models.loading import load_prompt_model, load_weights, pick_device, pick_dtype
from rolesum.models.prompt_model import LoadedModel, PromptModel
from rolesum.models.transformers_logging import quiet_transformers
from rolesum.os_errors import os_error
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
)
from rolesum.training.collate import make_collate_fn
from rolesum.training.data import TrainingData, data_notes, read_training_data, read_validation_data
from rolesum.training.distributed import DistributedContext, init_distributed
from rolesum.training.forward import packs_rows, training_forward
from rolesum.training.inherited_verification import VerifyingWeights, inherited_metadata, verifying_weights
from rolesum.training.model_card import model_card
from rolesum.training.objective import count_of_recipe, loss_of_recipe
from rolesum.training.preference import (
    compute_references,
    read_references,
    with_references,
    write_references,
)
from rolesum.training.prepare_model import check_base_weights, check_targets, prepare_model, with_prompts_of
from rolesum.training.result import save_result, training_costs
from rolesum.training.run_directory import (
    Interrupted,
    Run,
    adapter_metadata,
    check_run_directory,
    checkpoint_to_resume,
    data_files,
    data_hashes,
    finish_run,
    kept_checkpoints,
    lock_run,
    start_run,
    write_held_out,
)
from rolesum.training.trainer import BundleDataset, RoleTrainer
from rolesum.training.training_arguments import check_loggers, tensorboard_dir, training_arguments
from rolesum.training.validation import ValidationRouge, calibrated_metadata, calibration_note

DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True)
class _Setup:
    """What a run works with, once its data is read and its model loaded. `loaded.model` is what is trained."""

    run: Run
    recipe: Recipe
    context: DistributedContext
    device: torch.device
    loaded: LoadedModel
    data: TrainingData
    validation: TrainingData | None
    rouge: ValidationRouge | None
    metadata: dict[str, Any]  # written beside the result: what is needed to use it as it was trained
    verifying: VerifyingWeights | None  # what it goes on from, if that verifies statements
    data_hashes: dict[str, str]  # of the files as they were read

    @property
    def step_tokens(self) -> list[int]:
        """The tokens of every optimizer step, padding not counted."""
        lengths = self.data.lengths
        return [sum(lengths[sample.index] for batch in step for sample in batch) for step in self.data.steps]


def train(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    max_minutes: float | None = None,
) -> Run:
    """Train by the recipe and return the Run directory (default runs/NAME).

    With `resume`, continue from the last checkpoint. After `max_minutes`, counted from now, a checkpoint is written and
    Interrupted raised, as after Ctrl-C (or SIGTERM); before the first step and after a second one, Stopped is raised.
    Under torchrun each process calls this. Raises DataError, ModelError, UsageError and ResourceError.
    """
    deadline = time.monotonic() + max_minutes * 60 if max_minutes is not None else None
    run = Run(Path(out) if out else DEFAULT_RUNS / recipe.name)
    with kept_checkpoints(run):
        context = init_distributed(device)
        whole = context.run_on_all(lambda: with_base_adapter(recipe))
        context.run_on_main(lambda: check_run_directory(run, whole, resume))
        _validate_request(whole, context, device)
        setup = _set_up(run, whole, context, device)
        with ExitStack() as held:
            context.run_on_main(lambda: held.enter_context(lock_run(run)))
            context.run_on_main(lambda: check_run_directory(run, whole, resume))  # again, now that no other run writes
            _run(setup, resume, deadline)
    return run


def _validate_request(recipe: Recipe, context: DistributedContext, device: str) -> None:
    """Raise UsageError for what cannot be done, before any data is read."""
    check_loggers(recipe.training.report_to)
    if device.startswith("cuda:") and device != "cuda:0":
        fix = f"CUDA_VISIBLE_DEVICES={device.removeprefix('cuda:')} rolesum train … --device cuda"
        raise UsageError("training runs on the first GPU that it sees", fix=fix)
    if recipe.validation.summaries and context.sharded:
        raise UsageError("a sharded model cannot write summaries during training", fix="leave validation.summaries out")
    if recipe.preference and context.sharded:
        fix = "train without FSDP, or leave preference out"
        raise UsageError("preference tuning needs the whole model in each process, for its reference", fix=fix)
    if recipe.quantize and context.sharded:
        raise UsageError("a base in 4 bits is not sharded", fix="leave quantize or FSDP out")


def _set_up(run: Run, recipe: Recipe, context: DistributedContext, device: str) -> _Setup:
    """Read and encode the data, then load the base and prepare what is trained of it. Nothing is written."""
    adapter = context.run_on_all(lambda: read_base_adapter(recipe))
    prompt_model = context.run_on_all(lambda: with_prompts_of(adapter, load_prompt_model(recipe.base)))
    context.run_on_all(lambda: check_targets(prompt_model, recipe))
    _log_unshared(recipe, prompt_model)
    data, validation, hashes = context.run_on_all(lambda: _read_data(recipe, prompt_model))
    target, loaded = context.run_on_all(lambda: _load_base(recipe, prompt_model, context, device))
    if loaded.shares_prefix != prompt_model.shares_prefix:  # known only now: see models/self_check.py
        _log_unshared(recipe, loaded)
        data, validation, hashes = context.run_on_all(lambda: _read_data(recipe, loaded))
    log(f"training {recipe.base} on {data.describe(packs_rows(loaded.language_model, prompt_model.family, target))}")
    for note in (*base_adapter_notes(recipe, adapter, len(data.dialogues)), *data_notes(recipe, data, validation)):
        log(note)
    if note := calibration_note(recipe, validation.dialogues if validation else [], context.sharded):
        log(note)
    metadata = adapter_metadata(recipe, loaded, adapter)
    verifying = verifying_weights(recipe, loaded, adapter, data.dialogues)
    loaded.model = context.run_on_all(lambda: _prepare(recipe, loaded, adapter))
    rouge = None
    if recipe.validation.summaries and validation is not None:
        rouge = ValidationRouge(recipe, loaded, validation.dialogues)
    return _Setup(run, recipe, context, target, loaded, data, validation, rouge, metadata, verifying, hashes)


def _prepare(recipe: Recipe, loaded: LoadedModel, adapter: BaseAdapter | None) -> PreTrainedModel | PeftModel:
    """What is trained of the loaded base. Raises ModelError where the base adapter is another base's."""
    if adapter is not None:
        check_base_weights(adapter, loaded)
    with _memory_errors():
        return prepare_model(loaded.language_model, loaded.family, recipe)


def _log_unshared(recipe: Recipe, model: PromptModel) -> None:
    if recipe.training.share_prefix and not model.shares_prefix:
        log(f"{model.unshared_reason}: each example is computed with its own prefix")


def _read_data(recipe: Recipe, model: PromptModel) -> tuple[TrainingData, TrainingData | None, dict[str, str]]:
    """The data, and the hashes of its files. Raises DataError for a file that changes meanwhile."""
    with ExitStack() as watched:
        for file in data_files(recipe).values():
            fix = "wait until nothing writes to it, then run the same command again"
            watched.enter_context(unchanged_while_read(Path(file.path), fix, DataError))
        hashes = data_hashes(recipe)
        training, validation = read_training_data(recipe, model), read_validation_data(recipe, model)
    return training, validation, hashes


def _load_base(
    recipe: Recipe, prompt_model: PromptModel, context: DistributedContext, device: str
) -> tuple[torch.device, LoadedModel]:
    """The device that this process trains on, and the base: on that device, or on the CPU where FSDP will shard it.

    For full fine-tuning the weights are loaded in float32.
    """
    target = context.gpu or pick_device(device)
    dtype = torch.float32 if recipe.method == "full" else pick_dtype(recipe.dtype, target, prompt_model.config).dtype
    load_to = "cpu" if context.sharded else str(target)
    name = str(dtype).removeprefix("torch.")
    loaded = load_weights(prompt_model, dtype=name, device=load_to, quantize=recipe.quantize)
    choose_decoder(loaded)  # refuses, before anything is trained, a model that could not be used afterwards
    return target, loaded


def _run(setup: _Setup, resume: bool, deadline: float | None) -> None:
    """Train into the run's directory, from its beginning or its last checkpoint, and write the result there."""
    run, context = setup.run, setup.context
    if setup.rouge is not None:
        context.run_on_main(setup.rouge.check)
    dtype = pick_dtype(setup.recipe.dtype, setup.device, setup.loaded.config).dtype
    context.run_on_main(lambda: start_run(run, setup.recipe, setup.loaded, dtype, setup.data_hashes, resume))
    if setup.validation and setup.data.held_out:
        held_out = setup.validation.dialogues
        context.run_on_main(lambda: write_held_out(run, held_out))
    checkpoint = context.run_on_main(lambda: checkpoint_to_resume(run, context.sharded)) if resume else None
    with _memory_errors():
        if setup.recipe.preference:
            setup = _with_references(setup, resume)
        costs = _fit(setup, checkpoint, deadline)
    context.run_on_main(lambda: finish_run(run, costs, read_metadata(run.result(setup.recipe.method)).get("verify")))


def _with_references(setup: _Setup, resume: bool) -> _Setup:
    """The set-up with the reference model's log-probabilities in its data: the stored ones of a run that is resumed."""
    sets = {"train": setup.data} | ({"validation": setup.validation} if setup.validation else {})
    file, budget = setup.run.references, setup.recipe.training.tokens_per_batch

    def find() -> dict[str, list[list[float]]]:
        if resume and file.exists():
            return read_references(file, {name: [len(b.branches) for b in one.encoded] for name, one in sets.items()})
        autocast = _trains_in_bfloat16(setup)
        found = {
            name: compute_references(setup.loaded, one.encoded, budget, setup.device, autocast)
            for name, one in sets.items()
        }
        with _disk_errors(setup.run):
            write_references(file, found)
        return found

    found = setup.context.run_on_main(find)
    known = {name: replace(one, encoded=with_references(one.encoded, found[name])) for name, one in sets.items()}
    return replace(setup, data=known["train"], validation=known.get("validation"))


def _trains_in_bfloat16(setup: _Setup) -> bool:
    """Whether float32 weights are trained under bfloat16 autocast."""
    if setup.recipe.method != "full":
        return False
    return pick_dtype(setup.recipe.dtype, setup.device, setup.loaded.config).dtype is torch.bfloat16


def _fit(setup: _Setup, checkpoint: Path | None, deadline: float | None) -> dict[str, Any]:
    """Train to the end, write the result, and return the costs. Raises Interrupted where the run was stopped."""
    steps, validation = len(setup.data.steps), setup.recipe.validation
    stop = StopOnInterrupt()
    alpha, loss = setup.recipe.neftune.alpha, loss_of_recipe(setup.recipe)
    with (
        quiet_transformers(),
        tensorboard_dir(setup.run.path),
        training_forward(setup.loaded.model, setup.loaded.family, alpha, setup.device, loss),
        progress_bar("train", steps, "steps") as bar,
    ):
        progress = ProgressLine(bar, setup.step_tokens)
        trainer = _trainer(setup)
        best = KeepBest(
            "eval_rougeL" if validation.best_by == "rouge" else "eval_loss",
            validation.patience,
            partial(_save, setup) if validation.keep == "best" else None,
            setup.run,
        )
        for callback in _callbacks(setup, progress, best, stop, deadline):
            trainer.add_callback(callback)
        try:
            with _disk_errors(setup.run):
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        finally:
            stop.restore()
        if trainer.state.global_step < steps and not best.stopped:
            done = f"stopped at step {trainer.state.global_step} of {steps}; a checkpoint was written"
            fix = "continue with the same command and --resume"
            raise Interrupted(done, str(setup.run.path), fix, number=stop.signal, adds=["--resume"])
        result = setup.run.result(setup.recipe.method)
        if validation.keep == "best":
            kept = setup.run.best / str(trainer.state.best_global_step)
            setup.context.run_on_main(lambda: kept.rename(result))
        else:
            _save(setup, result)
        return training_costs(setup.data, progress, setup.device)


def _trainer(setup: _Setup) -> RoleTrainer:
    options, loaded = setup.recipe.training, setup.loaded
    arguments = training_arguments(
        setup.run,
        setup.recipe,
        setup.context,
        on_cpu=setup.device.type == "cpu",
        bf16=_trains_in_bfloat16(setup),
        steps=len(setup.data.steps),
        micro_batches=batches_per_process(setup.data.steps[0], setup.context.world_size),
    )
    trainer = RoleTrainer(
        model=loaded.model,
        args=arguments,
        train_dataset=BundleDataset(setup.data.encoded),
        eval_dataset=BundleDataset(setup.validation.encoded) if setup.validation else None,
        steps=setup.data.steps,
        validation=setup.validation.steps if setup.validation else (),
        epochs=options.epochs,
        collate=make_collate_fn(loaded),
        context=setup.context,
        count_items=count_of_recipe(setup.recipe),
        extra_metrics=setup.rouge.compute if setup.rouge else None,
    )
    trainer.pop_callback(PrinterCallback)
    return trainer


def _callbacks(
    setup: _Setup, progress: ProgressLine, best: KeepBest, stop: StopOnInterrupt, deadline: float | None
) -> list[TrainerCallback]:
    """The callbacks in the order in which the trainer calls them: SyncControlFlags after those that set flags."""
    options, steps = setup.recipe.training, len(setup.data.steps)
    callbacks: list[TrainerCallback] = [progress, StopOnNaN(), SaveByClock(options.save_minutes), best, stop]
    if setup.context.is_main:
        callbacks.append(MetricsFile(setup.run.metrics))
    if setup.validation:
        callbacks.append(EvaluateEvenly(steps, min(steps, setup.recipe.validation.per_epoch * options.epochs)))
    if deadline is not None:
        callbacks.append(StopAfter(deadline))
    if setup.context.world_size > 1:
        callbacks.append(SyncControlFlags())
    return [*callbacks, LogBeforeSaving()]


def _save(setup: _Setup, directory: Path) -> None:
    """Write the adapter, or the whole model, with its present weights. Every process must call this."""
    metadata, validation = setup.metadata, setup.validation
    if validation and not setup.context.sharded:
        recipe, loaded = setup.recipe, setup.loaded
        make = partial(calibrated_metadata, recipe, loaded, validation.dialogues, setup.metadata)
        metadata = setup.context.run_on_main(make)
    files = list[Path]()
    if (weights := setup.verifying) and setup.context.sharded:
        setup.context.run_on_main(
            lambda: log(f"verify: a sharded model cannot be asked: unlike {weights.name}, it verifies nothing")
        )
    elif weights:
        metadata = setup.context.run_on_main(partial(inherited_metadata, setup.recipe, setup.loaded, weights, metadata))
        files = [weights.probe] if metadata.get("verify") and weights.probe else []
    card = model_card(setup.recipe, metadata, len(setup.data.dialogues))
    save_result(setup.loaded, directory, metadata, card, setup.context, files)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Raises ResourceError where a device runs out of memory inside."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fix = "lower training.tokens_per_batch and raise training.gradient_accumulation, or gradient_checkpointing"
        raise ResourceError("the model or its batches do not fit the device's memory", fix=fix) from None


@contextmanager
def _disk_errors(run: Run) -> Iterator[None]:
    """Raises ResourceError where the run's files cannot be read or written inside."""
    try:
        yield
    except OSError as error:
        where = error.filename or run.path
        then = "then continue with --resume"
        raise os_error(error, "could not read or write the run", where, "fix its cause", then=then) from None
