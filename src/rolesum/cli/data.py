"""rolesum data."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from rolesum.cli.options import (
    Adapter,
    Format,
    Json,
    Language,
    Model,
    RecipeRoles,
    Roles,
    Speakers,
    role_list,
    speaker_map,
)

app = typer.Typer(help="Look at data files before you train on them.", no_args_is_help=True)

File = Annotated[str, typer.Argument(help="A data file, - for standard input, or sample:NAME.")]


@app.command()
def check(
    file: File,
    format_: Format = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="A recipe whose custom roles the file may use.")
    ] = None,
    json_: Json = False,
) -> None:
    """Find all problems of a file at once, with their lines, and count what is good.

    Example: rolesum data check train.jsonl
    """
    from rolesum.errors import DataError
    from rolesum.formats.check import check_file
    from rolesum.recipe import load_recipe

    result = check_file(file, format_, load_recipe(recipe).aliases if recipe else None)
    if json_:
        typer.echo(json.dumps(result.as_json(), indent=1, ensure_ascii=False))
        raise typer.Exit(DataError.exit_code if result.problems else 0)

    def counts(counter: dict[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counter.items()) or "none"

    typer.echo(f"{result.file}: format {result.format}, {result.dialogues:,} good dialogues, {result.turns:,} turns")
    typer.echo(f"languages: {counts(result.languages)}")
    typer.echo(f"speakers by role: {counts(result.speakers_by_role)}")
    typer.echo(f"summaries by role: {counts(result.summaries)}")
    if result.problems:
        for problem in result.problems:
            typer.echo(str(problem), err=True)
        typer.echo(f"{len(result.problems)} problems", err=True)
        raise typer.Exit(DataError.exit_code)


@app.command()
def show(
    file: File,
    id_: Annotated[str | None, typer.Option("--id", help="Which dialogue; by default the first.")] = None,
    model: Model = None,
    adapter: Adapter = None,
    roles: Roles = None,
    recipe: RecipeRoles = None,
    format_: Format = None,
    language: Language = None,
    speaker: Speakers = None,
    json_: Json = False,
) -> None:
    """Show one dialogue as prompt segments and tokens; tokens that carry loss are green and marked with |.

    Example: rolesum data show sample:en-test --id en-bank-17 --roles user
    """
    from rich.console import Console
    from rich.markup import escape

    from rolesum.formats import find_dialogue
    from rolesum.generation.job import declared_roles
    from rolesum.models.loading import load_text_side
    from rolesum.roles import default_roles
    from rolesum.training.show import show_dialogue

    declared = declared_roles(adapter, recipe)
    dialogue = find_dialogue(file, id_, format_, custom_roles=declared.aliases, speakers=speaker_map(speaker))
    wanted = role_list(roles, declared.aliases) or tuple(dialogue.summaries) or default_roles(dialogue)
    side = load_text_side(model, adapter)
    segments = show_dialogue(side, dialogue, wanted, side.layout(language, definitions=declared.definitions))
    if json_:
        typer.echo(json.dumps([asdict(segment) for segment in segments], indent=1, ensure_ascii=False))
        return
    console = Console()
    branch = None
    for segment in segments:
        if segment.branch != branch:
            branch = segment.branch
            title = f"branch: {branch}" if branch else "prefix, shared by all roles"
            console.rule(escape(title), align="left")
        edge, style = ("|", "green") if segment.loss else ("·", "")
        loss = ", carry loss" if segment.loss else ""
        console.print(f"[bold]{segment.kind}[/bold] [dim]{len(segment.ids)} tokens{loss}[/dim]")
        console.print(edge.join(segment.tokens), style=style, markup=False, highlight=False, soft_wrap=True)
    total = sum(len(segment.ids) for segment in segments)
    carrying = sum(len(segment.ids) for segment in segments if segment.loss)
    console.print(f"\n{dialogue.id}: {total} tokens, {carrying} carry loss", markup=False, highlight=False)
