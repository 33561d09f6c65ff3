"""The command `rolesum init`: begin a project."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.generation_options import with_options
from rolesum.cli.help import Panel
from rolesum.cli.options import Json
from rolesum.cli.reading_options import ReadingOptions


@with_options(ReadingOptions)
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the project; made if need be.")],
    *,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="FILE",
            rich_help_panel=Panel.INPUT,
            help="Dialogues with summaries to train on, which are checked: a file, or sample:NAME.",
        ),
    ] = None,
    json_: Json = False,
    options: ReadingOptions,
) -> None:
    """Begin a project: a recipe for your data, a report on them, and .rolesum.toml with the commands' defaults.

    How the data are read, such as --columns, is written into the recipe. No file is overwritten.

    Example: rolesum init calls --data calls.jsonl
    """
    from rolesum.project import create_project

    made = create_project(directory, data, options.as_recipe_keys())
    if json_:
        report = made.report.as_json() if made.report else None
        files = [str(file) for file in made.files]
        typer.echo(strict_json.dumps({"files": files, "recipe": made.recipe, "data": report}, ensure_ascii=False))
        return
    if made.report:
        typer.echo(str(made.report))
    for file in made.files:
        typer.echo(f"wrote {file}")
    typer.echo(f"next: cd {made.directory} && {made.next_command}")
