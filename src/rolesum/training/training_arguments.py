"""transformers' TrainingArguments from a recipe's training section."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import TrainingArguments
from transformers.integrations.integration_utils import get_available_reporting_integrations

from rolesum.errors import UsageError
from rolesum.recipe import Recipe
from rolesum.training.distributed import DistributedContext
from rolesum.training.run_directory import Run

TENSORBOARD = "TENSORBOARD_LOGGING_DIR"


def training_arguments(
    run: Run, recipe: Recipe, context: DistributedContext, *, on_cpu: bool, bf16: bool, steps: int, micro_batches: int
) -> TrainingArguments:
    """`steps` optimizer steps of `micro_batches` batches in each process. Checkpoints and evaluations: callbacks.py."""
    options = recipe.training
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if bf16 else "no"  # the recipe says it, not a launcher
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        run_name=recipe.name,
        num_train_epochs=1,  # the schedule holds all epochs
        learning_rate=options.learning_rate,
        lr_scheduler_type="constant_with_warmup" if options.schedule == "constant" else options.schedule,
        warmup_steps=round(options.warmup * steps),
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        gradient_accumulation_steps=micro_batches,
        bf16=bf16,  # all weights trained in bfloat16 keep a float32 master; a frozen base needs no autocast
        eval_strategy="no",
        save_strategy="no",
        logging_steps=options.log_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a NaN loss must be seen by StopOnNaN
        report_to=_loggers(options.report_to) if context.is_main else "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and context.world_size > 1 else None,
        ddp_find_unused_parameters=False,
        seed=options.seed,
        neftune_noise_alpha=None,  # the noise is added in loss.py, scaled per example
    )
    _ = arguments.device  # counts the GPUs
    arguments._n_gpu = min(arguments.n_gpu, 1)  # DataParallel would split the flat positions of a batch
    return arguments


@contextmanager
def tensorboard_dir(folder: Path) -> Iterator[None]:
    """Inside, TensorBoard writes to the run's directory, not to the checkpoints', unless the user set its variable."""
    if TENSORBOARD in os.environ:
        yield
        return
    os.environ[TENSORBOARD] = str(folder / "tensorboard")
    try:
        yield
    finally:
        del os.environ[TENSORBOARD]


def check_loggers(names: tuple[str, ...]) -> None:
    """Raise UsageError for a logging integration that is not installed."""
    known: list[str] = get_available_reporting_integrations()  # type: ignore[no-untyped-call]  # not annotated
    if missing := [name for name in names if name not in known]:
        what = f"training.report_to: {', '.join(missing)} is not installed, or not known to transformers"
        raise UsageError(what, fix=f"pip install it, or leave it out; installed: {', '.join(known) or 'none'}")


def _loggers(names: tuple[str, ...]) -> list[str] | str:
    return list(names) or "none"
