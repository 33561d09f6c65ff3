"""The commands `rolesum recipes` and `rolesum recipes show`."""

from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.help import HelpCommand, HelpGroup
from rolesum.cli.options import Json

app = typer.Typer(cls=HelpGroup, invoke_without_command=True, subcommand_metavar="[COMMAND]")


@app.callback()
def recipes(context: typer.Context, json_: Json = False) -> None:
    """List the recipes that come with rolesum, and what each is for.

    Example: rolesum recipes
    """
    if context.invoked_subcommand is not None:
        return

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    from rolesum.recipe_loading import bundled_recipes, load_recipe

    loaded = {name: load_recipe(path) for name, path in bundled_recipes().items()}
    if json_:
        listed = [
            {"name": name, "for": one.purpose, "base": one.base, "base_adapter": one.base_adapter, "roles": one.roles}
            for name, one in loaded.items()
        ]
        typer.echo(strict_json.dumps(listed, indent=1, ensure_ascii=False))
        return
    table = Table(Column("recipe", no_wrap=True), "what it trains", "on", box=SIMPLE_HEAD)
    for name, one in loaded.items():
        table.add_row(name, one.purpose, one.base_adapter or one.base)
    Console(highlight=False).print(table)
    typer.echo("One in full: rolesum recipes show NAME. A project of your own: rolesum init DIR --data FILE.")


@app.command(cls=HelpCommand)
def show(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a bundled recipe, or a YAML file.")],
    json_: Json = False,
) -> None:
    """Print a recipe's file; as JSON with all defaults filled in.

    Example: rolesum recipes show mine > recipe.yaml
    """
    from rolesum.recipe_loading import find_recipe, load_recipe

    recipe = load_recipe(name)  # an error where it is none
    if json_:
        typer.echo(strict_json.dumps(recipe.model_dump(mode="json"), indent=1, ensure_ascii=False))
    else:
        typer.echo(find_recipe(name).read_text(encoding="utf-8"), nl=False)
