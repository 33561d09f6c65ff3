"""Print the reference of the command line as one Markdown page, made from the commands and their help.

python docs/site/cli_page.py > cli.md
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer.main

from rolesum.cli.main import app

BAR = "\\|"  # a bar inside a cell of a table


def main() -> None:
    """Print the page."""
    root = typer.main.get_command(app)
    print("# Command line\n")
    print("Every command with its help, as `rolesum COMMAND --help` prints it.\n")
    for command, context in _commands(root, "rolesum", None):
        print(_section(command, context))


def _commands(command: Any, name: str, parent: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the command and those under it, each with its context."""
    context = command.context_class(command, info_name=name, parent=parent)
    yield command, context
    for below, subcommand in getattr(command, "commands", {}).items():
        yield from _commands(subcommand, below, context)


def _section(command: Any, context: Any) -> str:
    """Return a command's heading, help, usage and tables of its arguments and options."""
    blocks = [f"## {context.command_path}"]
    blocks.append("```\n" + " ".join([context.command_path, *command.collect_usage_pieces(context)]) + "\n```")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        example = re.match(r"(Examples?:)\s+(.*)", paragraph, re.DOTALL)
        blocks += [example[1], f"```\n{inspect.cleandoc(example[2])}\n```"] if example else [_escape(paragraph)]
    panels: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or "--help" in parameter.opts:
            continue
        names, text = record
        kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
        panel = getattr(parameter, "rich_help_panel", None) or kind
        panels.setdefault(panel, []).append(f"| `{names.replace('|', BAR)}` | {_cell(text)} |")
    for panel, rows in panels.items():
        blocks.append("\n".join([f"| {panel} | |", "|---|---|", *rows]))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _cell(text: str) -> str:
    return _escape(" ".join(text.split())).replace("|", BAR)


def _escape(text: str) -> str:
    """Return the text so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>])", r"\\\1", text)


if __name__ == "__main__":
    main()
