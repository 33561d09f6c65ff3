"""The commands `rolesum data check`, `convert` and `show`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.generation_options import with_options
from rolesum.cli.help import HelpCommand, HelpGroup, Panel
from rolesum.cli.options import Adapter, Json, Language, Model, RecipeRoles, Roles
from rolesum.cli.reading_options import ReadingOptions
from rolesum.counts import counted

app = typer.Typer(cls=HelpGroup, help="Check, show and convert data files.", no_args_is_help=True)

File = Annotated[str, typer.Argument(metavar="FILE", help="File of dialogues, sample:NAME, or - for standard input.")]
CustomRoles = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="RECIPE",
        rich_help_panel=Panel.ROLES,
        help="Recipe, by name or as a YAML file, whose custom roles the file may use.",
    ),
]

# With more speakers than this, their roles are not asked for on the terminal.
_MAX_PROMPTS = 12


@app.command(cls=HelpCommand)
@with_options(ReadingOptions)
def check(
    file: File,
    *,
    recipe: CustomRoles = None,
    json_: Json = False,
    options: ReadingOptions,
) -> None:
    """Report all problems of a file with their lines, and count its good dialogues.

    Example: rolesum data check train.jsonl
    """
    from rolesum.errors import DataError
    from rolesum.formats.check import check_file
    from rolesum.recipe_loading import load_recipe

    loaded = load_recipe(recipe) if recipe else None
    aliases = loaded.aliases if loaded else None
    reading = options.as_read_options(aliases)
    result = check_file(file, reading, sections=loaded.section_set.sections if loaded and loaded.section_set else ())
    typer.echo(strict_json.dumps(result.as_json(), indent=1, ensure_ascii=False) if json_ else str(result))
    if result.problems:
        if not json_:
            for problem in result.problems:
                typer.echo(str(problem), err=True)
            typer.echo(f"{result.file}: {counted(len(result.problems), 'problem')}", err=True)
        raise typer.Exit(DataError.exit_code)


@app.command(cls=HelpCommand)
@with_options(ReadingOptions)
def convert(
    file: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="File in any supported format, Slack export (directory or zip), or - for standard input.",
        ),
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Output .jsonl file, or - for standard output.")],
    *,
    recipe: CustomRoles = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad",
            rich_help_panel=Panel.INPUT,
            help="Skip records that cannot be read and convert the rest.",
        ),
    ] = False,
    json_: Json = False,
    options: ReadingOptions,
) -> None:
    """Convert a file in any supported format to rolesum's JSON lines. OUT is written completely or not at all.

    Example: rolesum data convert meeting.vtt meeting.jsonl --speaker "Anna=user" --speaker "Tom=agent"
    """
    from rolesum.atomic_io import atomic_write_text
    from rolesum.formats import open_source
    from rolesum.formats.convert import check_output_file
    from rolesum.formats.convert import convert as convert_source
    from rolesum.recipe_loading import load_recipe

    to_file = out != "-"
    if to_file:
        check_output_file(Path(out), file)
    aliases = load_recipe(recipe).aliases if recipe else {}
    reading = options.as_read_options(aliases)
    source = open_source(file, reading.encoding)
    result = convert_source(source, reading, skip_bad=skip_bad)
    if not options.speaker and not result.has_roles():
        labels = list(result.speakers())
        if file != "-" and sys.stdin and sys.stdin.isatty() and len(labels) <= _MAX_PROMPTS:
            reading = replace(reading, speakers=_prompt_for_roles(source.name, labels, list(aliases)))
            result = convert_source(source, reading, skip_bad=skip_bad)
        else:
            note = 'no speaker has a role; assign roles with --speaker "LABEL=ROLE"'
            typer.echo(f"{source.name}: {note}", err=True)
    for problem in result.problems:
        typer.echo(str(problem), err=True)
    if to_file:
        atomic_write_text(Path(out), result.text)
    else:
        typer.echo(result.text, nl=False)
    summary = strict_json.dumps(result.as_json(), indent=1, ensure_ascii=False) if json_ else str(result)
    typer.echo(summary, err=not to_file)


def _prompt_for_roles(name: str, labels: Sequence[str], custom_roles: Sequence[str]) -> dict[str, str]:
    """Speaker's label -> role as the user answers on the terminal; an empty answer assigns no role."""
    from rolesum.errors import UsageError
    from rolesum.roles import AGENT, USER, resolve_role

    typer.echo(f"{name}: Who plays which role? {', '.join((USER, AGENT, *custom_roles))}; Enter for none.", err=True)
    roles = {}
    for label in labels:
        while answer := typer.prompt(label, default="", show_default=False, err=True).strip():
            try:
                roles[label] = resolve_role(answer, dict.fromkeys(custom_roles, ()))
            except UsageError as error:
                typer.echo(str(error), err=True)
            else:
                break
    return roles


@app.command(cls=HelpCommand)
@with_options(ReadingOptions)
def show(
    file: File,
    *,
    id_: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            rich_help_panel=Panel.INPUT,
            help="Id of the dialogue to show. Default: that of the first.",
        ),
    ] = None,
    model: Model = None,
    adapter: Adapter = None,
    roles: Roles = None,
    recipe: RecipeRoles = None,
    language: Language = None,
    json_: Json = False,
    options: ReadingOptions,
) -> None:
    """Show one dialogue as prompt segments and tokens; tokens that carry loss are green and separated by |.

    Example: rolesum data show sample:en-test --id en-bank-17 --roles user
    """
    from rolesum.formats import find_dialogue
    from rolesum.generation.role_config import load_role_config
    from rolesum.models.loading import load_prompt_model
    from rolesum.roles import default_roles, role_names
    from rolesum.training.inspect import inspect_dialogue, print_segments

    role_config = load_role_config(adapter, recipe)
    aliases = role_config.aliases
    reading = options.as_read_options(aliases)
    dialogue = find_dialogue(file, id_, reading)
    asked = role_names(roles, role_config.aliases) if roles is not None else ()
    names = asked or tuple(dialogue.summaries) or default_roles(dialogue)
    prompt_model = load_prompt_model(model, adapter)
    layout = prompt_model.layout(language, definitions=role_config.definitions, sections=role_config.sections)
    segments = inspect_dialogue(prompt_model, dialogue, names, layout)
    if json_:
        typer.echo(strict_json.dumps([asdict(segment) for segment in segments], indent=1, ensure_ascii=False))
    else:
        print_segments(dialogue.id, segments)
