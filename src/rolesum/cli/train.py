"""rolesum train."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import Device, Json


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's YAML file, or the name of one that comes with rolesum.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: training.epochs=2. Repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run's directory. Default: runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the recipe with all its defaults, and stop.")
    ] = False,
    json_: Json = False,
) -> None:
    """Fine-tune an adapter by a recipe.

    Ctrl-C stops after the step in hand and leaves a checkpoint, which --resume takes up.

    Example: rolesum train sample --set training.epochs=2 --out runs/two-epochs
    """
    from rolesum.recipe import dump_recipe, load_recipe

    loaded = load_recipe(recipe, set_ or ())
    if dry_run:
        typer.echo(dump_recipe(loaded), nl=False)
        return

    from rolesum.training import train as train_run

    run = train_run(loaded, out, resume=resume, device=device)
    if json_:
        typer.echo(json.dumps({"run": str(run.path), "adapter": str(run.adapter)}))
    else:
        typer.echo(f"adapter: {run.adapter}")
