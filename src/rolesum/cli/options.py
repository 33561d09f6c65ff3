"""Options that several verbs share, and how their texts are read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from rolesum.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Model = Annotated[
    str | None,
    typer.Option("--model", help="Catalogue alias, hub id or directory. Default: the adapter's base, or smollm2-135m."),
]
Adapter = Annotated[Path | None, typer.Option("--adapter", help="A trained adapter, such as runs/NAME/adapter.")]
Roles = Annotated[str | None, typer.Option("--roles", help="Roles by comma: user,agent,overall.")]
Format = Annotated[str | None, typer.Option("--format", help="The file's format, if it cannot be told from the file.")]
Language = Annotated[str | None, typer.Option("--language", help="Of the instructions: zh or en. Default: the text's.")]
Speakers = Annotated[
    list[str] | None, typer.Option("--speaker", help='Who plays which role, as in "Anna=user". Repeatable.')
]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="The longest summary in tokens.")]
RecipeRoles = Annotated[str | None, typer.Option("--recipe", help="A recipe whose custom roles may be used.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N dialogues.")]
Skip = Annotated[list[str] | None, typer.Option("--skip", help="Leave out the dialogue with this id. Repeatable.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32 or bfloat16.")]
References = Annotated[
    str, typer.Option("--several", help="Of several references of a pair take the mean, or the best of each measure.")
]


def several_references(text: str) -> Literal["mean", "best"]:
    """What --several says."""
    if text == "mean":
        return "mean"
    if text == "best":
        return "best"
    raise UsageError(f'--several "{text}" is neither mean nor best', fix="write --several mean")


def role_list(text: str | None, custom: Mapping[str, Sequence[str]] | None = None) -> tuple[str, ...] | None:
    """The roles of a --roles text, aliases resolved."""
    from rolesum.roles import resolve_role

    if text is None:
        return None
    names = [name for name in text.replace("，", ",").split(",") if name.strip()]
    if not names:
        raise UsageError("--roles is empty", fix="write --roles user,agent")
    return tuple(dict.fromkeys(resolve_role(name, custom) for name in names))


def speaker_map(given: list[str] | None) -> dict[str, str]:
    """Speaker's label -> role, of the --speaker texts."""
    pairs = {}
    for text in given or ():
        label, sign, role = text.rpartition("=")
        if not sign or not label.strip() or not role.strip():
            raise UsageError(f'--speaker "{text}" is not LABEL=ROLE', fix='write --speaker "Anna=user"')
        pairs[label.strip()] = role.strip()
    return pairs
