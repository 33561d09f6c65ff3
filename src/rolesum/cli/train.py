"""The command `rolesum train`: fine-tune as a recipe says."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.generation_options import with_options
from rolesum.cli.help import Panel
from rolesum.cli.option_values import recipe_overrides
from rolesum.cli.options import Device, FromAdapter, Json, RecipeArgument, SetKeys, Threads
from rolesum.cli.reading_options import ReadingOptions


@with_options(ReadingOptions)
def train(
    recipe: RecipeArgument,
    *,
    set_: SetKeys = None,
    from_adapter: FromAdapter = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=Panel.OUTPUT,
            help="Directory of the run. Default: runs/NAME, by the recipe's name, or by the data file's where --set "
            "data.train.path replaces the data of mine or of a recipe for bundled dialogues.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", rich_help_panel=Panel.TRAINING, help="Continue from the last checkpoint in the run's directory."
        ),
    ] = False,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            "--max-minutes",
            min=0,
            metavar="NUMBER",
            rich_help_panel=Panel.TRAINING,
            help="Write a checkpoint and stop after this many minutes.",
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    ray_workers: Annotated[
        int | None,
        typer.Option(
            "--ray-workers",
            min=1,
            metavar="N",
            rich_help_panel=Panel.RAY,
            help="Train on this many workers of a Ray cluster.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            rich_help_panel=Panel.TRAINING,
            help="Print the recipe with all defaults filled in, and exit.",
        ),
    ] = False,
    json_: Json = False,
    options: ReadingOptions,
) -> None:
    """Fine-tune a model as a recipe says, a YAML file that describes the whole run.

    Ctrl-C, and --max-minutes, stop after the current step and write a checkpoint from which --resume continues.
    Several processes or GPUs: torchrun --nproc-per-node 2 -m rolesum train RECIPE, or --ray-workers 2.

    --format, --encoding, --columns, --json-path, --speaker and --unknown-speaker say how data.train is read.

    Example: rolesum train sample --set training.epochs=2 --out runs/two-epochs
    """
    from rolesum.models.base_adapter import with_base_adapter
    from rolesum.recipe import dump_recipe
    from rolesum.recipe_loading import load_recipe

    loaded = load_recipe(recipe, recipe_overrides(set_, from_adapter, options.as_recipe_keys()))
    if dry_run:
        typer.echo(dump_recipe(with_base_adapter(loaded)), nl=False)
        return

    from rolesum.training import train as train_here
    from rolesum.training.ray import train_on_ray

    train_run = partial(train_on_ray, workers=ray_workers) if ray_workers else train_here
    run = train_run(loaded, out, resume=resume, device=device, max_minutes=max_minutes)
    if os.environ.get("RANK", "0") != "0":  # only the main process prints
        return
    kind = "model" if loaded.method == "full" else "adapter"
    result = run.result(loaded.method)
    typer.echo(strict_json.dumps({"run": str(run.path), kind: str(result)}) if json_ else f"{kind}: {result}")
