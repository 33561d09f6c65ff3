"""Help texts: each option has one, and each can be understood alone."""

from collections.abc import Iterator

import click
import pytest
import typer

from rolesum.cli.main import app


def commands(command: click.Command, path: str = "rolesum") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS)
def test_help_of_every_option_stands_alone(path):
    for parameter in COMMANDS[path].params:
        text = getattr(parameter, "help", None)
        assert text, f"{path} {parameter.name} has no help"
        assert not text.startswith(("Of ", "By ", "Others ")), f"{path} {parameter.name}: {text}"
        assert text[-1] in ".…" or ". " in text, f"{path} {parameter.name}: {text}"


@pytest.mark.parametrize("path", COMMANDS)
def test_help_of_every_command_is_present(path):
    command = COMMANDS[path]
    assert command.help and command.help[0].isupper()
