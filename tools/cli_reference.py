"""Print the reference of the command line as a Markdown page, made from the commands themselves.

Example: python tools/cli_reference.py > docs/cli.md
"""

import re
from collections.abc import Iterator
from typing import Any

import typer

from rolesum.cli.help import Panel, default, metavar, names, panels, paragraphs
from rolesum.cli.main import app

PROGRAM = "rolesum"
HEADING = """# Command line

Every command of `rolesum`, with its arguments and options. `--help` or `-h` after a command prints the same.
"""


def reference() -> str:
    """The page: a section for each command."""
    return "\n".join([HEADING, *_sections(typer.main.get_command(app), PROGRAM)])


def _sections(command: Any, path: str) -> Iterator[str]:
    """The section of a command, then those of its own commands."""
    commands = getattr(command, "commands", {})
    with command.make_context(path, [], resilient_parsing=True, help_option_names=["--help", "-h"]) as context:
        usage = command.get_usage(context).removeprefix("Usage: ")
        shown = panels(command, context)
    yield f"## {path}\n\n```\n{usage}\n```\n"
    for paragraph in paragraphs(command.help):
        # a sentence, or "Example: rolesum ...": the words before the colon, the command in a block
        said, colon, example = paragraph.partition(": rolesum ")
        yield f"{said}:\n\n```\nrolesum {example}\n```\n" if colon else f"{_text(paragraph)}\n"
    if commands:
        yield "**Commands**\n"
        yield "\n".join(f"- `{path} {name}`: {_text(paragraphs(one.help)[0])}" for name, one in commands.items()) + "\n"
    for title, parameters in shown.items():
        if title != Panel.HELP or path == PROGRAM:
            yield f"**{title}**\n"
            yield "\n".join(_item(one) for one in parameters) + "\n"
    for name, one in commands.items():
        yield from _sections(one, f"{path} {name}")


def _item(parameter: Any) -> str:
    """A parameter as an item of a list, with its default."""
    written = f"{names(parameter)} {metavar(parameter)}".strip()
    value = default(parameter)
    notes = [f"Default: `{value}`." if value else "", "**Required.**" if parameter.required else ""]
    return " ".join([f"- `{written}`: {_text(parameter.help)}", *(note for note in notes if note)])


def _text(text: str) -> str:
    """A help text with the names of options as code, and what Markdown would take for markup escaped."""
    escaped = re.sub(r"([\\*_\[\]<>])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*", r"`\g<0>`", escaped)


if __name__ == "__main__":
    print(reference(), end="")
