"""rolesum data."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rolesum.cli.options import (
    Adapter,
    Columns,
    Format,
    Json,
    Language,
    Model,
    RecipeRoles,
    Roles,
    Speakers,
    UnknownSpeaker,
    role_list,
    speaker_map,
)

app = typer.Typer(help="Check, show and convert data files.", no_args_is_help=True)

File = Annotated[str, typer.Argument(help="Data file, - for standard input, or sample:NAME.")]
CustomRoles = Annotated[str | None, typer.Option("--recipe", help="Recipe whose custom roles the file may use.")]

# More speakers than one would want to be asked about.
_ASKED_SPEAKERS = 12


@app.command()
def check(
    file: File,
    format_: Format = None,
    recipe: CustomRoles = None,
    columns: Columns = None,
    unknown_speaker: UnknownSpeaker = "refuse",
    json_: Json = False,
) -> None:
    """Find all problems of a file at once, with their lines, and count what is good.

    Example: rolesum data check train.jsonl
    """
    from rolesum.errors import DataError
    from rolesum.formats import ReadOptions
    from rolesum.formats.check import check_file
    from rolesum.formats.table import parse_columns
    from rolesum.recipe import load_recipe

    loaded = load_recipe(recipe) if recipe else None
    options = ReadOptions(
        format=format_,
        custom_roles=loaded.aliases if loaded else {},
        columns=parse_columns(columns) if columns else {},
        unknown_speaker=unknown_speaker,
    )
    result = check_file(file, options, sections=loaded.section_set.sections if loaded and loaded.section_set else ())
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
def convert(
    file: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="File in any supported format, Slack export (directory or zip), or - for standard input."
        ),
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Output .jsonl file, or - for standard output.")],
    format_: Format = None,
    columns: Columns = None,
    unknown_speaker: UnknownSpeaker = "refuse",
    speaker: Speakers = None,
    recipe: CustomRoles = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Skip records that cannot be read and convert the rest.")
    ] = False,
    json_: Json = False,
) -> None:
    """Turn any known format into rolesum's own JSON lines. OUT is written whole or not at all.

    Example: rolesum data convert meeting.vtt meeting.jsonl --speaker "Anna=user" --speaker "Tom=agent"
    """
    from rolesum.atomic_io import atomic_write_text
    from rolesum.formats import ReadOptions, open_source
    from rolesum.formats.convert import convert as convert_source
    from rolesum.formats.table import parse_columns
    from rolesum.recipe import load_recipe

    to_file = out != "-"
    if to_file:
        _check_out(file, Path(out))
    aliases = load_recipe(recipe).aliases if recipe else {}
    source = open_source(file)
    options = ReadOptions(
        format=format_,
        custom_roles=aliases,
        speakers=speaker_map(speaker),
        columns=parse_columns(columns) if columns else {},
        unknown_speaker=unknown_speaker,
    )
    found = convert_source(source, options, skip_bad=skip_bad)
    if not speaker and not any(dialogue.roles for dialogue in found.dialogues):
        labels = list(found.speakers())
        if file != "-" and sys.stdin and sys.stdin.isatty() and len(labels) <= _ASKED_SPEAKERS:
            options = replace(options, speakers=_ask_roles(labels, list(aliases)))
            found = convert_source(source, options, skip_bad=skip_bad)
        else:
            typer.echo('no speaker has a role; say who plays which with --speaker "LABEL=ROLE"', err=True)
    for problem in found.problems:
        typer.echo(str(problem), err=True)
    if to_file:
        atomic_write_text(Path(out), found.text)
    else:
        typer.echo(found.text, nl=False)
    counts = found.as_json()
    told = json.dumps(counts, indent=1, ensure_ascii=False) if json_ else _told(counts)
    typer.echo(told, err=not to_file)


def _check_out(file: str, out: Path) -> None:
    """Raise UsageError or ResourceError where a conversion's OUT cannot be what the user meant."""
    from rolesum.atomic_io import check_not_input, check_writable
    from rolesum.errors import UsageError

    if out.suffix != ".jsonl":
        fix = "give OUT the ending .jsonl, or - for standard output"
        raise UsageError("what is written is JSON lines", str(out), fix)
    check_not_input(out, file)
    check_writable(out)


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _told(counts: dict[str, Any]) -> str:
    """A conversion's counts in words."""
    text = f"{counts['file']}: format {counts['format']}, {_number(counts['dialogues'], 'dialogue')}, "
    text += _number(counts["turns"], "turn")
    if counts["problems"]:
        text += f"; {len(counts['problems']):,} problems, left out"
    heard = [f"{label} ({role})" for label, role in counts["speakers"].items()]
    more = f" and {len(heard) - _ASKED_SPEAKERS:,} more" if len(heard) > _ASKED_SPEAKERS else ""
    return f"{text}\nspeakers: {', '.join(heard[:_ASKED_SPEAKERS])}{more}"


def _ask_roles(labels: Sequence[str], custom: Sequence[str]) -> dict[str, str]:
    """Speaker's label -> role as the user answers on the terminal; an empty answer gives none."""
    from rolesum.errors import UsageError
    from rolesum.roles import AGENT, USER, resolve_role

    typer.echo(f"Who plays which role? {', '.join((USER, AGENT, *custom))}; Enter for none.", err=True)
    played = {}
    for label in labels:
        while answer := typer.prompt(label, default="", show_default=False, err=True).strip():
            try:
                played[label] = resolve_role(answer, dict.fromkeys(custom, ()))
            except UsageError as error:
                typer.echo(str(error), err=True)
            else:
                break
    return played


@app.command()
def show(
    file: File,
    id_: Annotated[str | None, typer.Option("--id", help="Id of the dialogue to show. Default: the first.")] = None,
    model: Model = None,
    adapter: Adapter = None,
    roles: Roles = None,
    recipe: RecipeRoles = None,
    format_: Format = None,
    language: Language = None,
    speaker: Speakers = None,
    columns: Columns = None,
    unknown_speaker: UnknownSpeaker = "refuse",
    json_: Json = False,
) -> None:
    """Show one dialogue as prompt segments and tokens; tokens that carry loss are green and marked with |.

    Example: rolesum data show sample:en-test --id en-bank-17 --roles user
    """
    from rich.console import Console
    from rich.markup import escape

    from rolesum.formats import ReadOptions, find_dialogue
    from rolesum.formats.table import parse_columns
    from rolesum.generation.summarizer import load_role_config
    from rolesum.models.loading import load_prompt_model
    from rolesum.roles import default_roles
    from rolesum.training.inspect import inspect_dialogue

    declared = load_role_config(adapter, recipe)
    options = ReadOptions(
        format=format_,
        custom_roles=declared.aliases,
        speakers=speaker_map(speaker),
        columns=parse_columns(columns) if columns else {},
        unknown_speaker=unknown_speaker,
    )
    dialogue = find_dialogue(file, id_, options)
    wanted = role_list(roles, declared.aliases) or tuple(dialogue.summaries) or default_roles(dialogue)
    side = load_prompt_model(model, adapter)
    layout = side.layout(language, definitions=declared.definitions, sections=declared.sections)
    segments = inspect_dialogue(side, dialogue, wanted, layout)
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
