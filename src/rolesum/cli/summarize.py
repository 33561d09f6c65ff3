"""rolesum summarize."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import (
    Adapter,
    Device,
    Dtype,
    Format,
    Json,
    Language,
    MaxNewTokens,
    Model,
    RecipeRoles,
    Roles,
    Skip,
    Speakers,
    role_list,
    speaker_map,
)
from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS


def summarize(
    file: Annotated[
        str, typer.Argument(help="A file of dialogues, or - for standard input.", show_default=False)
    ] = "-",
    model: Model = None,
    adapter: Adapter = None,
    roles: Roles = None,
    recipe: RecipeRoles = None,
    format_: Format = None,
    language: Language = None,
    speaker: Speakers = None,
    max_new_tokens: MaxNewTokens = DEFAULT_MAX_NEW_TOKENS,
    skip: Skip = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write here in place of standard output.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json_: Json = False,
) -> None:
    """Summarise dialogues for each of their roles.

    Text in gives one block per role; JSON in gives JSON lines out, by id, in order. Without --roles: overall, and the
    roles that the speakers' labels name.

    Example: rolesum summarize chat.txt --roles user,agent --speaker "Anna=user" --speaker "Tom=agent"
    """
    from rolesum.files import check_writable, write_whole
    from rolesum.formats import open_source, read_dialogues
    from rolesum.generation.job import as_blocks, as_json_lines, declared_roles, summarise_dialogues

    if out:
        check_writable(out)
    if file == "-" and sys.stdin and sys.stdin.isatty():
        typer.echo(
            'Type or paste a dialogue, "Speaker: text" on each line; end with Ctrl-D on an empty line.', err=True
        )
    declared = declared_roles(adapter, recipe)
    wanted = role_list(roles, declared.aliases)
    source = open_source(file)
    dialogues = read_dialogues(
        source, format_, skip=skip or (), custom_roles=declared.aliases, speakers=speaker_map(speaker)
    )
    summaries = summarise_dialogues(
        dialogues,
        model=model,
        adapter=adapter,
        roles=wanted,
        language=language,
        max_new_tokens=max_new_tokens,
        definitions=declared.definitions,
        device=device,
        dtype=dtype,
    )
    text = as_json_lines(dialogues, summaries) if json_ or source.is_json else as_blocks(summaries)
    if out:
        write_whole(out, text)
    else:
        typer.echo(text, nl=False)
