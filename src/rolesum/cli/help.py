"""Help pages: usage, description, and the options in groups, at any width of the terminal.

tools/cli_reference.py writes the same as Markdown.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from rolesum.cli.defaults import SETTINGS, apply_settings, note_settings
from rolesum.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from rich.text import Text

# A page is read more easily in lines no longer than this.
_MAX_WIDTH = 100
# A name that is longer stands on a line of its own, above its help.
_NAME_WIDTH = 28
_BORDER = 4
_GAP = 2
# typer's message about a value that is none of an option's choices
_NO_CHOICE = re.compile(r"'(?P<value>.*)' is not one of '", re.DOTALL)


class Panel(StrEnum):
    """The groups of options, in the order in which the help of every command shows them."""

    ARGUMENTS = "Arguments"
    TRAINING = "Training"
    INPUT = "Input"
    OUTPUT = "Output"
    ANNOTATION = "Annotation"
    MODEL = "Model"
    METRICS = "Metrics"
    JUDGE = "Judge"
    SERVER = "Server"
    LIMITS = "Limits"
    ROLES = "Roles"
    DECODING = "Decoding"
    VERIFICATION = "Verification"
    ENGINE = "Engine"
    PRIVACY = "Privacy"
    RAY = "Ray"
    LOGGING = "Logging"
    HELP = "Help"


def choices(literal: Any) -> str:
    """The metavar of an option that takes the values of a Literal: [a|b]."""
    return f"[{'|'.join(get_args(literal))}]"


class HelpCommand(TyperCommand):
    """A command whose help is print_help's, and whose options have their defaults from the settings."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does, and name the nearest choice where a value is none; then apply the settings.

        Raises UsageError.
        """
        try:
            left = super().parse_args(ctx, args)
            ctx.meta[SETTINGS] = applied = apply_settings(self, ctx)
            note_settings(applied)
            return left
        except typer.BadParameter as error:
            found = _NO_CHOICE.search(error.message)
            if not found or not error.param:
                raise
            value, option = found["value"], error.param
            known = str(option.metavar).strip("[]").split("|")
            raise UsageError(f'unknown value "{value}" for {option.opts[0]}', fix=did_you_mean(value, known)) from None

    def get_usage(self, ctx: Any) -> str:
        return usage(self, ctx.command_path)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        print_help(self, ctx)


class HelpGroup(TyperGroup):
    """A group of commands whose help is print_help's."""

    def get_usage(self, ctx: Any) -> str:
        return f"{usage(self, ctx.command_path)} {self.subcommand_metavar}"

    def format_help(self, ctx: Any, formatter: Any) -> None:
        print_help(self, ctx)


def is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def names(parameter: Any) -> str:
    """The names of an option, "-o, --out" or "--checks / --no-checks"; the metavar of an argument."""
    if is_argument(parameter):
        return str(parameter.metavar)
    short_first = sorted(parameter.opts, key=lambda one: one.startswith("--"))
    return " / ".join([", ".join(short_first), *parameter.secondary_opts])


def metavar(parameter: Any) -> str:
    """What stands for the value of an option; empty for a flag, and for an argument, whose name it is."""
    return "" if is_argument(parameter) or parameter.is_flag else str(parameter.metavar)


def default(parameter: Any) -> str:
    """The default as the user would write it; empty where there is none, or where the help text names it."""
    value = parameter.default
    if not parameter.show_default or value is None or value is False:
        return ""
    if parameter.secondary_opts:
        return str(parameter.opts[0])
    return f"{value:g}" if isinstance(value, float) else str(value)


def usage(command: Any, path: str) -> str:
    """The usage line of a command that is called by `path`: the required options are in it."""
    required = [one for one in command.params if one.required and not is_argument(one)]
    arguments = [one for one in command.params if is_argument(one)]
    return " ".join(
        [
            f"Usage: {path} [OPTIONS]",
            *(f"{names(one).split(', ')[-1]} {metavar(one)}" for one in required),
            *(names(one) if one.required else f"[{names(one)}]" for one in arguments),
        ]
    )


def paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a help text, each as one line."""
    return [" ".join(one.split()) for one in inspect.cleandoc(text or "").split("\n\n")]


def panels(command: Any, context: Any) -> dict[str, list[Any]]:
    """Title -> the parameters under it, in the order of Panel; what typer itself adds is in the last."""
    found: dict[str, list[Any]] = {panel: [] for panel in Panel}
    for one in command.get_params(context):
        if not one.hidden:
            panel = Panel.ARGUMENTS if is_argument(one) else getattr(one, "rich_help_panel", None) or Panel.HELP
            found[panel].append(one)
    return {title: parameters for title, parameters in found.items() if parameters}


def command_panels(group: Any) -> dict[str, list[Any]]:
    """Title -> the commands of a group under it, in the order in which they were added."""
    found: dict[str, list[Any]] = {}
    for one in getattr(group, "commands", {}).values():
        found.setdefault(one.rich_help_panel or "Commands", []).append(one)
    return found


def print_help(command: Any, context: Any) -> None:
    """Print the help of a command to standard output."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.panel import Panel as Box
    from rich.text import Text

    console = Console(highlight=False)
    width = min(console.width, _MAX_WIDTH)

    def write(text: "Text | str") -> None:
        console.print(Padding(text, (0, 1, 1, 1)), width=width)

    console.print()
    write(Text(command.get_usage(context), style="bold"))
    for one in paragraphs(command.help):
        write(Text(one))
    parameters = {title: [_entry(one) for one in shown] for title, shown in panels(command, context).items()}
    commands = {
        title: [(Text(one.name, "bold cyan"), Text(paragraphs(one.help)[0])) for one in shown]
        for title, shown in command_panels(command).items()
    }
    for boxes in (commands, parameters):
        lengths = [len(name) for entries in boxes.values() for name, _ in entries]
        column = max((one for one in lengths if one <= _NAME_WIDTH), default=_NAME_WIDTH)
        for title, entries in boxes.items():
            lines = Text("\n").join(_lines(console, entries, column, width - _BORDER))
            console.print(Box(lines, title=title, title_align="left", border_style="dim"), width=width)
    if command.epilog:
        console.print()
        write(Text(command.epilog))


def _entry(parameter: Any) -> tuple["Text", "Text"]:
    """A parameter's name, with a column for short options, and its help with the default."""
    from rich.text import Text

    written, value = names(parameter), metavar(parameter)
    indent = " " * len("-o, ") if written.startswith("--") else ""
    name = Text.assemble(indent, (written, "bold cyan"), (value and f" {value}", "yellow"))
    text = Text(" ".join((parameter.help or "").split()))
    if shown := default(parameter):
        text.append(f" Default: {shown}.", "dim")
    if parameter.required and not is_argument(parameter):
        text.append(" Required.", "red")
    return name, text


def _lines(console: Any, entries: Sequence[tuple["Text", "Text"]], column: int, width: int) -> Iterator["Text"]:
    """The lines of a group: names on the left and help on the right; a name that is too long stands above its help."""
    from rich.text import Text

    indent = column + _GAP
    for name, text in entries:
        wrapped = list(text.wrap(console, max(width - indent, _NAME_WIDTH)))
        if len(name) <= column:
            yield Text.assemble(name, " " * (indent - len(name)), *wrapped[:1])
            wrapped = wrapped[1:]
        else:
            yield name
        for line in wrapped:
            yield Text.assemble(" " * indent, line)
